"""Charts from OCI registries, by the specification of distribution and Helm's media types, over our own requests.

Why not another's client. That of Helm's SDK, in a worker: for pulls it ignores a `ca_file` and `insecure`, cannot be
cancelled, tells no progress, keeps a chart in memory and knows neither our cache nor our limits. The oras of PyPI
(0.2.43): on requests, so a thread a request with pools of its own, no digest of what it downloads is checked, and no
`Retry-After` heard. What a chart takes is four kinds of request, all reading; logging in is the most of it (`oci_logins`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from anyio.to_thread import run_sync

from sbkube.fetch.access import Access
from sbkube.fetch.addresses import redacted
from sbkube.fetch.cache import Cache
from sbkube.fetch.downloads import Downloads, Fetched, OnBytes
from sbkube.fetch.errors import AccessRefused, NotKept
from sbkube.fetch.flights import Flights
from sbkube.fetch.http import Answer
from sbkube.fetch.http_errors import TooLarge, WrongDigest
from sbkube.fetch.oci_client import OciClient
from sbkube.fetch.oci_errors import NoSuchVersion, in_words_of_registries
from sbkube.fetch.oci_logins import Registry
from sbkube.fetch.oci_manifests import Manifest, read_manifest
from sbkube.fetch.oci_references import Reference, tag_of, version_of, versions_among
from sbkube.fetch.repositories import LARGEST_CHART, FetchedChart
from sbkube.fetch.stored_logins import StoredLogins
from sbkube.fetch.versions import choose, parse_version

_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class FoundChart:
    """`reference` has the digest of the manifest, which is enough to fetch the same again."""

    reference: Reference
    registry: Registry
    version: str | None
    """None: pinned by digest, and nothing says which version that is."""
    manifest: Manifest


class OciCharts:
    """Of one run: what was asked once is known."""

    def __init__(self, downloads: Downloads, stored: StoredLogins) -> None:
        self._downloads = downloads
        self._client = OciClient(downloads.http, stored)
        self._found: Flights[FoundChart] = Flights(keeps=True)
        self._versions: Flights[list[str]] = Flights(keeps=True)

    @property
    def _cache(self) -> Cache:
        return self._downloads.cache

    async def find(self, reference: Reference, registry: Registry, wanted: str | None = None) -> FoundChart:
        """By a digest, which asks nobody where the cache has it; else by a version, as Helm takes it. Raises `FetchError`."""
        with in_words_of_registries():
            return await self._found.do(
                (reference, registry, wanted), lambda: self._find(reference, registry, wanted)
            )

    async def chart(
        self,
        reference: Reference,
        registry: Registry,
        wanted: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> FetchedChart:
        try:
            found = await self.find(reference, registry, wanted)
            fetched = await self.fetch(found, on_bytes)
        except NotKept as error:
            raise NotKept(f"chart {reference}{f' {wanted}' if wanted else ''}") from error
        path = self._cache.path(fetched.digest)
        return FetchedChart(path, str(found.reference), fetched.digest, found.version, fetched.is_new)

    async def fetch(self, found: FoundChart, on_bytes: OnBytes | None = None) -> Fetched:
        """The archive of the chart. Raises `FetchError`."""
        with in_words_of_registries():
            return await self._blob(found, on_bytes)

    async def versions(self, reference: Reference, registry: Registry) -> list[str]:
        """The newest first. Raises `FetchError`."""
        with in_words_of_registries():
            key = (reference.repository, registry)
            return await self._versions.do(key, lambda: self._listed(reference, registry))

    async def _listed(self, reference: Reference, registry: Registry) -> list[str]:
        return versions_among(await self._client.tags(reference, registry))

    # Which

    async def _find(self, reference: Reference, registry: Registry, wanted: str | None) -> FoundChart:
        agreed = reference.agreed(wanted)
        if reference.digest is not None:
            manifest = await self._pinned(reference, registry)
            told = wanted or version_of(reference.tag or "")
            manifest.check_version(reference, told)
            return FoundChart(reference, registry, manifest.version or told, manifest)
        version = await self._chosen(reference, registry, agreed)
        tagged = replace(reference, tag=tag_of(version))
        manifest = await self._tagged(tagged, registry, version)
        return FoundChart(replace(tagged, digest=manifest.digest), registry, version, manifest)

    async def _chosen(self, reference: Reference, registry: Registry, wanted: str | None) -> str:
        """What is a version is taken for a tag, also `1.2`, of which a repository over HTTP would take any."""
        if wanted is not None and parse_version(wanted) is not None:
            return wanted
        question = f"{reference.repository} {wanted or ''}"
        if self._downloads.http.is_offline:
            noted = await run_sync(self._cache.noted, "oci-version", question) or {}
            if "version" in noted:
                return str(noted["version"])
        versions = await self.versions(reference, registry)
        chosen = choose(versions, lambda version: version, wanted)
        if chosen is None:
            raise NoSuchVersion(reference.repository, wanted, versions)
        await run_sync(self._cache.note, "oci-version", question, {"version": chosen})
        return chosen

    # Manifests

    async def _pinned(self, reference: Reference, registry: Registry) -> Manifest:
        if (known := await self._manifest_in_cache(reference, str(reference.digest))) is not None:
            return known
        answer, body = await self._client.manifest(reference, registry, str(reference.digest))
        if answer.status == 404:
            tags = await self._client.tags(reference, registry)
            raise NoSuchVersion(reference.repository, reference.digest, versions_among(tags) or tags)
        return await self._keep_manifest(reference, answer, body, str(reference.digest))

    async def _tagged(self, reference: Reference, registry: Registry, version: str) -> Manifest:
        """One that we have seen is asked for by its head alone: of these, registries count fewer."""
        name, tag = f"{reference.repository}:{reference.tag}", str(reference.tag)
        if (known := await self._seen(reference, name)) is not None:
            if self._downloads.http.is_offline:
                return known
            answer, _ = await self._client.manifest(reference, registry, tag, method="HEAD")
            if answer.headers.get("docker-content-digest") == known.digest:
                return known
        answer, body = await self._client.manifest(reference, registry, tag)
        if answer.status == 404:
            tags = await self._client.tags(reference, registry)
            raise NoSuchVersion(reference.repository, version, versions_among(tags) or tags)
        told = answer.headers.get("docker-content-digest")
        manifest = await self._keep_manifest(reference, answer, body, told)
        await run_sync(self._cache.note, "oci", name, {"digest": manifest.digest})
        return manifest

    async def _seen(self, reference: Reference, name: str) -> Manifest | None:
        noted = await run_sync(self._cache.noted, "oci", name) or {}
        digest = noted.get("digest")
        return await self._manifest_in_cache(reference, digest) if isinstance(digest, str) else None

    async def _manifest_in_cache(self, reference: Reference, digest: str) -> Manifest | None:
        path = await run_sync(self._cache.find, digest.removeprefix("sha256:"))
        return None if path is None else read_manifest(await run_sync(path.read_bytes), str(reference))

    async def _keep_manifest(
        self, reference: Reference, answer: Answer, body: bytes, expected: str | None
    ) -> Manifest:
        came = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if expected is not None and expected.startswith("sha256:") and expected != came:
            raise WrongDigest(answer.url, expected, came)
        manifest = read_manifest(body, str(reference))
        await run_sync(_write, self._cache, body, redacted(answer.url))
        return manifest

    # The archive

    async def _blob(self, found: FoundChart, on_bytes: OnBytes | None) -> Fetched:
        reference, registry, manifest = found.reference, found.registry, found.manifest
        url = f"{reference.url(plain=registry.plain_http)}/blobs/{manifest.layer}"
        if manifest.size > LARGEST_CHART:
            raise TooLarge(url, LARGEST_CHART)
        access = await self._client.access(reference, registry)

        async def download(access: Access) -> Fetched:
            digest = manifest.layer.removeprefix("sha256:")
            return await self._downloads.fetch(
                url, access, expected=digest, limit=LARGEST_CHART, on_bytes=on_bytes
            )

        try:
            return await download(access)
        except AccessRefused:
            # Nobody was asked before, or a token has ended; and where a blob really lies, no login of ours helps.
            await self._client.ask(
                url, reference, registry, limit=0, method="HEAD", handles=(*_REDIRECTS, 405)
            )
            fresh = await self._client.access(reference, registry)
            if fresh == access:
                raise
        return await download(fresh)


def _write(cache: Cache, body: bytes, came: str) -> None:
    incoming = cache.incoming()
    try:
        incoming.write(body)
        cache.keep(incoming, came=came)
    except BaseException:
        incoming.discard()
        raise
