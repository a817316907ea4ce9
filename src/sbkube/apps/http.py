"""`type: http`: a file that is downloaded, which other apps read."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from anyio.to_thread import run_sync
from pydantic import BeforeValidator, StringConstraints, field_validator

from sbkube.apps.base import App, Stage
from sbkube.apps.fetched_charts import told_by_lock
from sbkube.apps.fields import SIZE_SCHEMA, NotEmpty, Secret, size
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.secrets import revealed
from sbkube.apps.work import Asking, Json, Place, Reading, Work
from sbkube.errors import SbkubeError
from sbkube.fetch.addresses import redacted, split_login, told_apart
from sbkube.fetch.lockfile import Asks, Pin

if TYPE_CHECKING:
    from sbkube.fetch.downloads import Fetched

_SECRET = re.compile(r"auth|cookie|token|key|secret|password", re.IGNORECASE)


class HttpApp(App):
    """`dest` is where other apps find the file: a path in the folder of the project, at which nothing is written."""

    stages: ClassVar[tuple[Stage, ...]] = ("prepare",)

    type: Literal["http"]
    url: NotEmpty
    dest: NotEmpty
    headers: dict[str, Secret] = {}
    sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    max_size: Annotated[int, BeforeValidator(size), SIZE_SCHEMA] = 1024**3

    @field_validator("dest")
    @classmethod
    def _is_inside(cls, dest: str) -> str:
        inside = posixpath.normpath(dest)
        if inside.startswith(("/", "..")) or inside == ".":
            raise ValueError(f"must be the path of a file in the folder of the project, not {dest!r}")
        return inside

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://, not be {url!r}")
        return url

    def reads(self, stage: Stage, place: Place) -> Reading:
        """Who asks is no input, so no secret is one."""
        headers = {
            name: value if isinstance(value, str) and not _SECRET.search(name) else None
            for name, value in sorted(self.headers.items())
        }
        settings = {"url": split_login(self.url)[0], "dest": self.dest, "headers": headers}
        return Reading({**settings, "sha256": self.sha256}, fetches=redacted(self.url), asks=self._asks())

    def _asks(self) -> Asks:
        return {"url": told_apart(self.url), **({"sha256": self.sha256} if self.sha256 else {})}

    async def resolve(self, asking: Asking) -> Pin:
        fetched = await self._fetched(asking, None)
        return Pin(fetched.url, sha256=fetched.digest)

    async def perform(self, stage: Stage, work: Work) -> Json:
        fetched = await self._fetched(work.asking, work.place.pin(self._asks()))
        await work.log(f"{fetched.url}: {fetched.size} bytes with SHA-256 {fetched.digest}")
        work.context.metadata.update({"url": fetched.url, "sha256": fetched.digest})
        await run_sync(_copy, work.fetch.cache.path(fetched.digest), work.out / self.dest)
        return None

    async def _fetched(self, asking: Asking, pin: Pin | None) -> Fetched:
        from sbkube.fetch.access import Access
        from sbkube.fetch.http_errors import TooLarge, WrongDigest

        expected = self.sha256 or (pin.sha256 if pin is not None else None)
        try:
            access = Access(headers=tuple(self._headers(asking)))
            return await asking.fetch.downloads.fetch(
                self.url, access, expected=expected, limit=self.max_size
            )
        except SbkubeError as error:
            own = "sha256" if self.sha256 else "url"
            field = {WrongDigest: own, TooLarge: "max_size"}.get(type(error), "url")
            told = error if self.sha256 else told_by_lock(error, asking.place, pin)
            told.set_place(asking.place.where(field))
            raise

    def unpinned(self, folder: Path) -> Iterator[tuple[FieldPath, str]]:
        if self.sha256 is None:
            yield ("url",), redacted(self.url)

    def _headers(self, asking: Asking) -> Iterator[tuple[str, str]]:
        for name, value in self.headers.items():
            text = revealed(value, f"headers.{name}", asking.env, asking.place.where("headers", name))
            yield name, text or ""


def _copy(source: Path, into: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, into)
