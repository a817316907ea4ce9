"""How a registry lets us in: it says how it wants to be told who we are, and we tell it, or its token server.

A registry that gives tokens says so with its first refusal. What it said is remembered for the run, and a token until
it expires or is refused, so that a chart more costs a token more and nothing else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from urllib.parse import urlencode, urlsplit, urlunsplit

from sbkube.fetch.access import Access
from sbkube.fetch.addresses import origin, redacted
from sbkube.fetch.flights import Flights
from sbkube.fetch.http import ANYONE, Answer, Http
from sbkube.fetch.http_errors import refusal
from sbkube.fetch.oci_errors import BadAnswer, InsecureRealm, RegistryRefused
from sbkube.fetch.oci_references import Reference
from sbkube.fetch.stored_logins import Login, StoredLogins

_SHORTEST = 60.0
"""Seconds for which a token is good whose server does not say it."""
_SHARE = 0.9
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Registry:
    """How a registry is asked."""

    access: Access = ANYONE
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Challenge:
    """`realm` is where tokens are had; without one, the registry itself is told the password."""

    realm: str | None = None
    service: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    access: Access
    until: float


class OciLogins:
    """Of one run."""

    def __init__(self, http: Http, stored: StoredLogins) -> None:
        self._http, self._stored = http, stored
        self._challenges: dict[Registry, Challenge] = {}
        self._scopes: dict[tuple[Registry, str], str] = {}
        self._tokens: dict[tuple[Registry, str], _Token] = {}
        self._flights: Flights[Access] = Flights()

    async def access(self, registry: Registry, reference: Reference) -> Access:
        """By what is known so far; a registry that has not asked is told nothing."""
        challenge = self._challenges.get(registry)
        if challenge is None:
            return _as_anyone(registry.access)
        if challenge.realm is None:
            return _with(registry.access, await self._login(registry, reference))
        known = self._tokens.get((registry, reference.path))
        if known is not None and time.monotonic() < known.until:
            return known.access
        return await self._flights.do(
            (registry, reference.path), lambda: self._token(registry, reference, challenge)
        )

    async def again(
        self, registry: Registry, reference: Reference, refused: Access, answer: Answer
    ) -> Access:
        """After a 401. Raises `RegistryRefused` if there is no other way in."""
        challenge = _challenge(answer)
        if challenge is not None:
            self._challenges[registry] = challenge
            if challenge.scope:
                self._scopes[registry, reference.path] = challenge.scope
        known = self._tokens.get((registry, reference.path))
        if known is not None and known.access == refused:
            del self._tokens[registry, reference.path]
        access = await self.access(registry, reference)
        if access == refused:
            raise await self.refusal(registry, reference)
        return access

    async def refusal(self, registry: Registry, reference: Reference) -> RegistryRefused:
        login = await self._login(registry, reference) if registry in self._challenges else None
        return RegistryRefused(reference.repository, login)

    async def _login(self, registry: Registry, reference: Reference) -> Login | None:
        given = registry.access
        if given.username is not None or given.password is not None:
            return Login(given.username, given.password)
        return await self._stored.of(reference.host)

    async def _token(self, registry: Registry, reference: Reference, challenge: Challenge) -> Access:
        login = await self._login(registry, reference)
        if login is not None and login.bearer is not None:
            return _bearing(registry.access, login.bearer)
        begun = time.monotonic()
        said = await self._ask(registry, reference, challenge, login)
        token = said.get("token") or said.get("access_token")
        # An odd sign in a header would be quoted by whoever refuses it.
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise BadAnswer(str(challenge.realm), "there is no token in it")
        seconds = said.get("expires_in")
        seconds = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else _SHORTEST
        access = _bearing(registry.access, token)
        self._tokens[registry, reference.path] = _Token(access, begun + _SHARE * seconds)
        return access

    async def _ask(
        self, registry: Registry, reference: Reference, challenge: Challenge, login: Login | None
    ) -> Mapping[str, object]:
        realm = str(challenge.realm)
        if not realm.startswith("https://") and not (registry.plain_http and realm.startswith("http://")):
            raise InsecureRealm(reference.repository, realm)
        scope = self._scopes.get((registry, reference.path), f"repository:{reference.path}:pull")
        asked = {"service": challenge.service or "", "scope": scope}
        async with self._open(realm, _for_realm(registry, reference, realm), asked, login) as answer:
            if answer.status in (400, 401, 403):
                raise RegistryRefused(reference.repository, login)
            if answer.status != 200:
                raise refusal(answer.url, answer.status, answer.headers)
            body = bytearray()
            async for part in answer.body(decoded=True):
                body += part
                if len(body) > _LARGEST:
                    raise BadAnswer(realm, "it is too large")
        return read_object(bytes(body), realm)

    def _open(
        self, realm: str, access: Access, asked: Mapping[str, str], login: Login | None
    ) -> AbstractAsyncContextManager[Answer]:
        """A redirect is not followed: it would take a form with a token along."""
        if login is None or login.refresh is None:
            return self._http.open(_with_query(realm, asked), _with(access, login), handles=_SAID)
        form = {**asked, "grant_type": "refresh_token", "client_id": "sbkube", "refresh_token": login.refresh}
        return self._http.open(
            realm,
            access,
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            content=urlencode(form).encode(),
            handles=_SAID,
        )


_SAID = (301, 302, 303, 307, 308, 400, 401, 403)


def read_object(body: bytes, url: str) -> Mapping[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(url, "it is no JSON") from error
    if not isinstance(found, dict):
        raise BadAnswer(url, "it is no JSON object")
    return found


def _with_query(url: str, query: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    more = urlencode({key: value for key, value in query.items() if value})
    return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more))


def _for_realm(registry: Registry, reference: Reference, realm: str) -> Access:
    """Trusted as the registry is; a client certificate is for the registry itself."""
    try:
        is_same = origin(realm) == origin(reference.url(plain=registry.plain_http))
    except ValueError as error:
        raise BadAnswer(redacted(realm), "tokens cannot be had from such a place") from error
    return _as_anyone(registry.access if is_same else registry.access.elsewhere)


def _as_anyone(access: Access) -> Access:
    return replace(access, username=None, password=None, headers=())


def _with(access: Access, login: Login | None) -> Access:
    if login is None:
        return _as_anyone(access)
    return replace(access, username=login.username, password=login.password, headers=())


def _bearing(access: Access, token: str) -> Access:
    return replace(access, username=None, password=None, headers=(("Authorization", f"Bearer {token}"),))


# WWW-Authenticate: schemes, each with its parameters, all in one list

_ITEM = re.compile(
    r"(?P<word>[!#$%&'*+.^_`|~0-9A-Za-z-]+)"
    r"(?:[ \t]*=[ \t]*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,\"]+)))?"
)


def _challenge(answer: Answer) -> Challenge | None:
    """A token is better than a password."""
    found = challenges(answer.headers.get("www-authenticate", ""))
    if (bearer := found.get("bearer")) is not None and bearer.get("realm"):
        return Challenge(bearer["realm"], bearer.get("service"), bearer.get("scope"))
    return Challenge() if "basic" in found else None


def challenges(header: str) -> dict[str, dict[str, str]]:
    """Parameters by scheme."""
    found: dict[str, dict[str, str]] = {}
    scheme = ""
    for item in _ITEM.finditer(header):
        word, quoted, plain = item["word"].lower(), item["quoted"], item["plain"]
        if quoted is None and plain is None:
            scheme = word
            found.setdefault(scheme, {})
        elif scheme:
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[scheme].setdefault(word, value)
    return found
