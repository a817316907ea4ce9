"""Questions to registries, by the specification of distribution: with a login where they want one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import urljoin

from sbkube.fetch.access import Access
from sbkube.fetch.addresses import origin
from sbkube.fetch.flights import Flights
from sbkube.fetch.http import Answer, Http
from sbkube.fetch.http_errors import TooLarge, refusal
from sbkube.fetch.oci_errors import BadAnswer, NoSuchChart, SpeaksTls
from sbkube.fetch.oci_logins import OciLogins, Registry, read_object
from sbkube.fetch.oci_manifests import ACCEPTED
from sbkube.fetch.oci_references import Reference
from sbkube.fetch.stored_logins import StoredLogins

_LARGEST_MANIFEST = 4 << 20
_LARGEST_PAGE = 16 << 20
_MOST_PAGES = 1000


class OciClient:
    """Of one run. Everything raises `FetchError`."""

    def __init__(self, http: Http, stored: StoredLogins) -> None:
        self._http = http
        self._logins = OciLogins(http, stored)
        self._tags: Flights[list[str]] = Flights(keeps=True)

    async def access(self, reference: Reference, registry: Registry) -> Access:
        """For a download: with what the last question has shown to be right."""
        return await self._logins.access(registry, reference)

    async def tags(self, reference: Reference, registry: Registry) -> list[str]:
        """Asked for once."""
        return await self._tags.do(
            (reference.repository, registry), lambda: self._ask_tags(reference, registry)
        )

    async def manifest(
        self, reference: Reference, registry: Registry, name: str, method: str = "GET"
    ) -> tuple[Answer, bytes]:
        """By tag or digest. 404 is left to the caller."""
        url = f"{reference.url(plain=registry.plain_http)}/manifests/{name}"
        handles = (405,) if method == "HEAD" else ()
        return await self.ask(
            url,
            reference,
            registry,
            limit=_LARGEST_MANIFEST,
            method=method,
            headers=ACCEPTED,
            handles=handles,
        )

    async def _ask_tags(self, reference: Reference, registry: Registry) -> list[str]:
        begin = f"{reference.url(plain=registry.plain_http)}/tags/list"
        tags, url = list[str](), begin
        for _ in range(_MOST_PAGES):
            answer, body = await self.ask(url, reference, registry, limit=_LARGEST_PAGE)
            if answer.status == 404:
                raise NoSuchChart(reference.repository)
            page = read_object(body, url).get("tags") or []
            if not isinstance(page, list):
                raise BadAnswer(url, "it has no list of tags")
            tags += (tag for tag in page if isinstance(tag, str))
            following = _next_page(url, answer.headers)
            if following is None:
                return tags
            if origin(following) != origin(begin):
                raise BadAnswer(url, "it goes on at another server")
            url = following
        raise BadAnswer(begin, f"it goes on for more than {_MOST_PAGES} pages")

    async def ask(
        self,
        url: str,
        reference: Reference,
        registry: Registry,
        *,
        limit: int,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        handles: Collection[int] = (),
    ) -> tuple[Answer, bytes]:
        """With a login once that is asked for. 404 is left to the caller."""
        access = await self._logins.access(registry, reference)
        for is_last in (False, True):
            answer, body = await self._read(
                url,
                access,
                limit,
                method=method,
                headers=headers,
                handles=(400, 401, 403, 404, *handles),
            )
            if answer.status in (401, 403) and origin(answer.url) != origin(url):
                raise refusal(answer.url, answer.status, answer.headers, dropped=url)
            if answer.status == 400:
                raise SpeaksTls(url) if registry.plain_http else refusal(url, 400, answer.headers)
            if answer.status == 403 or (answer.status == 401 and is_last):
                break
            if answer.status != 401:
                return answer, body
            access = await self._logins.again(registry, reference, access, answer)
        raise await self._logins.refusal(registry, reference)

    async def _read(
        self,
        url: str,
        access: Access,
        limit: int,
        *,
        method: str,
        headers: Mapping[str, str] | None,
        handles: Collection[int],
    ) -> tuple[Answer, bytes]:
        body = bytearray()
        async with self._http.open(url, access, method=method, headers=headers, handles=handles) as answer:
            if answer.status == 200 and method != "HEAD":
                async for part in answer.body(decoded=True):
                    body += part
                    if len(body) > limit:
                        raise TooLarge(url, limit)
        return answer, bytes(body)


_LINK = re.compile(r"<([^>]*)>[^,]*;[ ]*rel=\"?next\"?", re.IGNORECASE)


def _next_page(url: str, headers: Mapping[str, str]) -> str | None:
    found = _LINK.search(headers.get("link", ""))
    return None if found is None else urljoin(url, found[1])
