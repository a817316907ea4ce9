"""A registry of the distribution specification, as one more handler of a `Server`; and pushing charts to any registry.

    registry = Registry()
    server.handlers.append(registry)
    registry.push("charts/web", Chart("web"))

Faults go into `server.before`. `bearer_of` makes it want tokens, which its `Tokens` give out at another server or the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urljoin
from uuid import uuid4

from .charts import Chart
from .messages import Handler, Request, Response

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def manifest_of(
    chart: Chart, *, annotated: bool = True, config_type: str = CONFIG, layer_type: str = LAYER
) -> bytes:
    """As Helm writes it."""
    config = _config(chart)
    notes = {"org.opencontainers.image.title": chart.name, "org.opencontainers.image.version": chart.version}
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": config_type, "digest": digest_of(config), "size": len(config)},
            "layers": [
                {"mediaType": layer_type, "digest": digest_of(chart.packed), "size": len(chart.packed)}
            ],
            **({"annotations": notes} if annotated else {}),
        }
    ).encode()


def _config(chart: Chart) -> bytes:
    return json.dumps({"apiVersion": "v2", "name": chart.name, "version": chart.version}).encode()


@dataclass(slots=True)
class Registry:
    """`page`: the most tags in one answer."""

    page: int | None = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Manifests by tag or digest, by repository."""

    def push(
        self, repository: str, chart: Chart, tag: str | None = None, manifest: bytes | None = None
    ) -> str:
        """Without a wire; the digest of the manifest."""
        made = manifest or manifest_of(chart)
        for blob in (chart.packed, _config(chart)):
            self.blobs[digest_of(blob)] = blob
        names = self.tags.setdefault(repository, {})
        names[tag or chart.version.replace("+", "_")] = names[digest_of(made)] = made
        return digest_of(made)

    def __call__(self, request: Request) -> Response | None:
        if request.path == "/v2/":
            return Response(200, b"{}")
        found = re.fullmatch(r"/v2/(.+)/(tags/list|manifests/[^/]+|blobs/(?:uploads/.*|[^/]+))", request.path)
        if found is None:
            return None
        repository, kind = found[1], found[2]
        if kind == "tags/list":
            return self._list(repository, request)
        kind, _, name = kind.partition("/")
        if request.method in ("POST", "PUT"):
            return self._take(repository, kind, name, request)
        if kind == "blobs":
            return _content(self.blobs.get(name), "application/octet-stream")
        return _content(self.tags.get(repository, {}).get(name), MANIFEST)

    def _list(self, repository: str, request: Request) -> Response:
        if repository not in self.tags:
            return _error(404, "NAME_UNKNOWN")
        tags = sorted(tag for tag in self.tags[repository] if not tag.startswith("sha256:"))
        last = parse_qs(request.query).get("last", [""])[0]
        left = [tag for tag in tags if tag > last]
        sent = left[: self.page]
        more = len(left) > len(sent)
        link = {"Link": f'</v2/{repository}/tags/list?last={sent[-1]}>; rel="next"'} if more else {}
        return _json(200, {"name": repository, "tags": sent}, link)

    def _take(self, repository: str, kind: str, name: str, request: Request) -> Response:
        if kind == "manifests":
            names = self.tags.setdefault(repository, {})
            names[name] = names[digest_of(request.body)] = request.body
        elif request.method == "POST":
            return Response(202, headers={"Location": f"/v2/{repository}/blobs/uploads/{uuid4().hex}"})
        else:
            self.blobs[digest_of(request.body)] = request.body
        return Response(201)


def _content(content: bytes | None, kind: str) -> Response:
    if content is None:
        return _error(404, "MANIFEST_UNKNOWN")
    return Response(200, content, {"Content-Type": kind, "Docker-Content-Digest": digest_of(content)})


def _error(status: int, code: str, **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return _json(status, {"errors": [{"code": code, "message": code.lower(), "detail": None}]}, sent)


def _json(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(
        status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
    )


# Tokens


@dataclass(slots=True)
class Tokens:
    """Gives tokens to who is known, each for one repository. `revoke` ends all of them."""

    user: str = "me"
    password: str = "secret"
    refresh: str = "refresh-me"
    anonymous: bool = False
    given: dict[str, str] = field(default_factory=dict)
    """Scopes by token."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def revoke(self) -> None:
        with self._lock:
            self.given.clear()

    def __call__(self, request: Request) -> Response | None:
        if request.path != "/token":
            return None
        asked = parse_qs(request.body.decode() if request.method == "POST" else request.query)
        if request.method == "POST":
            is_known = asked.get("refresh_token") == [self.refresh]
        else:
            is_known = request.login == (self.user, self.password) or (
                self.anonymous and request.login is None
            )
        if not is_known or asked.get("service") != ["test"]:
            return _error(401, "UNAUTHORIZED")
        token = f"token-{uuid4().hex}"
        with self._lock:
            self.given[token] = asked["scope"][0]
        name = "access_token" if request.method == "POST" else "token"
        return _json(200, {name: token, "expires_in": 300})


def bearer_of(realm: Callable[[], str], tokens: Tokens) -> Handler:
    """Before all else: without a token for just this repository there is nothing."""

    def check(request: Request) -> Response | None:
        found = re.match(r"/v2/(.+)/(?:tags|manifests|blobs)/", request.path)
        if found is None:
            return None
        scope = f"repository:{found[1]}:pull"
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and tokens.given.get(token) == scope:
            return None
        challenge = f'Bearer realm="{realm()}",service="test",scope="{scope}",error="invalid_token"'
        return _error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    return check


# Pushing over the wire


def push(
    url: str,
    repository: str,
    chart: Chart,
    *,
    login: tuple[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> str:
    """To whatever registry answers at the URL; the digest of the manifest."""
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"

    def send(method: str, to: str, body: bytes, kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(
            to, body, {**headers, "Content-Type": kind, "Content-Length": str(len(body))}, method=method
        )
        with urllib.request.urlopen(request, context=tls, timeout=60) as answer:
            return answer.headers

    for blob in (chart.packed, _config(chart)):
        begun = send("POST", f"{url}/v2/{repository}/blobs/uploads/", b"")
        place = urljoin(url, begun["Location"])
        send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest_of(blob)}", blob)
    manifest = manifest_of(chart)
    tag = chart.version.replace("+", "_")
    send("PUT", f"{url}/v2/{repository}/manifests/{tag}", manifest, MANIFEST)
    return digest_of(manifest)
