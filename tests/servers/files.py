"""A tree of files as a web server gives it: with validators, conditional requests and ranges."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime

from .messages import Request, Response


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    etag: str | None
    modified: str | None

    @classmethod
    def of(cls, content: bytes, at: float, *, etag: bool = True, modified: bool = True) -> File:
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"' if etag else None
        return cls(content, tag, formatdate(at, usegmt=True) if modified else None)

    @property
    def validators(self) -> dict[str, str]:
        found = {"ETag": self.etag, "Last-Modified": self.modified}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class Files:
    """By path from the root, such as `/charts/web-1.0.0.tgz`. Every change counts as one minute later."""

    etags: bool = True
    dates: bool = True
    ranges: bool = True
    _files: dict[str, File] = field(default_factory=dict)
    _time: float = 1_700_000_000.0

    def __setitem__(self, path: str, content: bytes | str) -> None:
        self._time += 60
        content = content.encode() if isinstance(content, str) else content
        self._files[path] = File.of(content, self._time, etag=self.etags, modified=self.dates)

    def __getitem__(self, path: str) -> bytes:
        return self._files[path].content

    def __delitem__(self, path: str) -> None:
        del self._files[path]

    def __call__(self, request: Request) -> Response | None:
        file = self._files.get(request.path)
        if file is None or request.method not in ("GET", "HEAD"):
            return None
        if _is_known(request, file):
            return Response(304, headers=file.validators)
        if self.ranges and (part := _range(request, file)) is not None:
            return part
        accept = {"Accept-Ranges": "bytes"} if self.ranges else {}
        return Response(200, file.content, {**file.validators, **accept})


def _is_known(request: Request, file: File) -> bool:
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return file.etag is not None and file.etag in [tag.strip() for tag in tags.split(",")]
    since = request.headers.get("if-modified-since")
    if since is None or file.modified is None:
        return False
    return parsedate_to_datetime(file.modified) <= parsedate_to_datetime(since)


def _range(request: Request, file: File) -> Response | None:
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    if asked is None or condition not in (None, file.etag, file.modified):
        return None
    begin, size = int(asked[1]), len(file.content)
    if begin >= size:
        return Response(416, headers={"Content-Range": f"bytes */{size}"})
    headers = {**file.validators, "Content-Range": f"bytes {begin}-{size - 1}/{size}"}
    return Response(206, file.content[begin:], headers)
