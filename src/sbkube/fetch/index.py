"""The index of a chart repository: of 20 MB of YAML, what it takes to find a chart. Blocking.

Reading all of such a file as YAML takes ten seconds. Nearly all of them were written by Go, where a chart, a version and a
key each begin a line of a known indentation, so that the few keys that matter can be picked out by that. A layout
that is not wholly of this kind is read as YAML, chart by chart where the charts can be told apart, else the whole.

What was found is written out small, so that it is read once: a line that says where each chart is, then a line a chart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbkube.documents import parse, scalar
from sbkube.errors import ConfigError
from sbkube.fetch.addresses import redacted
from sbkube.fetch.errors import FetchError
from sbkube.fetch.versions import newest_first

FORMAT = 1
"""Of the small form: another number is another name in the cache."""


class BadIndex(FetchError):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"the index {redacted(url)!r} cannot be used: {why}")


@dataclass(frozen=True, slots=True)
class ChartVersion:
    """`digest` is the SHA-256 of the archive, or "" where the index has none; `urls` may be relative."""

    version: str
    digest: str
    urls: tuple[str, ...]


Charts = dict[str, list[ChartVersion]]


class Index:
    """The small form, of which one chart at a time is read."""

    def __init__(self, path: Path) -> None:
        """Raises OSError and ValueError. Held whole, since the cache may be pruned while a run lasts."""
        places, _, self._lines = path.read_bytes().partition(b"\n")
        self._places: dict[str, list[int]] = json.loads(places)

    @property
    def charts(self) -> list[str]:
        return list(self._places)

    def versions(self, chart: str) -> list[ChartVersion]:
        """The newest first."""
        if (place := self._places.get(chart)) is None:
            return []
        begin, size = place
        entries = json.loads(self._lines[begin : begin + size])
        return [ChartVersion(version, digest, tuple(urls)) for version, digest, urls in entries]


def small(charts: Mapping[str, list[ChartVersion]]) -> Iterator[bytes]:
    """What `Index` reads."""
    places, lines, begin = {}, [], 0
    for name, versions in charts.items():
        entries = [[it.version, it.digest, it.urls] for it in newest_first(versions, lambda it: it.version)]
        line = json.dumps(entries, separators=(",", ":")).encode()
        places[name] = [begin, len(line)]
        begin += len(line) + 1
        lines.append(line + b"\n")
    yield json.dumps(places).encode() + b"\n"
    yield from lines


def read_index(content: bytes, url: str) -> Charts:
    """Raises `BadIndex`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadIndex(url, "it is not UTF-8") from error
    if not text.strip():
        raise BadIndex(url, "it is empty")
    if text.lstrip().startswith("{"):
        return _of_data(_json(text, url), url)
    if (charts := _by_layout(text, url)) is not None:
        return charts
    return _of_data(_yaml(text, url), url)


def _json(text: str, url: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _yaml(text, url)  # a flow mapping, perhaps


def _yaml(text: str, url: str) -> Any:
    try:
        return parse(text, file=Path("index.yaml")).data
    except ConfigError as error:
        where = f" (line {error.where.line})" if error.where is not None and error.where.line else ""
        raise BadIndex(url, f"{error.message}{where}") from error


def _of_data(data: Any, url: str) -> Charts:
    if not isinstance(data, dict):
        raise BadIndex(url, "it is no mapping; is the URL that of a chart repository?")
    entries = data.get("entries")
    if entries is None and data.get("apiVersion"):
        return {}
    if not isinstance(entries, dict):
        raise BadIndex(url, "it has no `entries`; is the URL that of a chart repository?")
    return {str(name): _versions(items) for name, items in entries.items()}


def _versions(items: Any) -> list[ChartVersion]:
    """Those that can be fetched. Helm skips the others, too."""
    return [found for item in items if (found := _version(item))] if isinstance(items, list) else []


def _version(item: Any) -> ChartVersion | None:
    if not isinstance(item, dict) or not isinstance(item.get("version"), str):
        return None
    urls, digest = item.get("urls"), item.get("digest")
    listed = tuple(url for url in urls if isinstance(url, str) and url) if isinstance(urls, list) else ()
    return ChartVersion(item["version"], _plain_digest(digest) if isinstance(digest, str) else "", listed)


def _plain_digest(text: str) -> str:
    return text.strip().lower().removeprefix("sha256:")


# By layout. Patterns begin with the end of a line, which is searched for much faster than `^`.

_ENTRIES = re.compile(r"\nentries:[ ]*\n")
_FIRST = re.compile(r"(?:\n[ ]*(?:#[^\n]*)?)*\n(?P<chart>[ ]+)[^ \n][^\n]*:[ ]*\n(?P<item>[ ]*)- ")
_END = re.compile(r"\n[^ \n#]")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SIMPLE = re.compile(
    r"[A-Za-z0-9./](?:[A-Za-z0-9./:_%?=&~+@-]*[A-Za-z0-9./_%?=&~+@-])?|\"[^\"\\\n]*\"|'[^'\n]*'"
)
_REFERS = re.compile(r"[:-] +[&*!]|<<:")


def _by_layout(text: str, url: str) -> Charts | None:
    """None: it is not laid out as Go does, or says something that only YAML can tell."""
    text = f"\n{text}\n"
    begin = _ENTRIES.search(text)
    if begin is None or "\t" in text or "\r" in text or "\n---" in text[begin.end() :]:
        return None
    if _ENTRIES.search(text, begin.end() - 1) is not None:
        return None
    end = _END.search(text, begin.end() - 1)
    body = text[begin.end() - 1 : end.start() + 1 if end else len(text)]
    first = _FIRST.match(body)
    if first is None or len(first["item"]) < len(first["chart"]):
        return None
    layout = _Layout(len(first["chart"]), len(first["item"]))
    charts: Charts = {}
    for name, block in layout.blocks(body):
        if name is None or name in charts or not layout.fits(block):
            return None
        versions = layout.versions(block)
        charts[name] = _versions(_yaml(block, url)) if versions is None else versions
    return charts


class _Layout:
    """Where the names of charts, the dashes of versions and the keys in these begin."""

    def __init__(self, chart: int, item: int) -> None:
        charts, self._dash, self._space = (
            "\n" + " " * chart,
            "\n" + " " * item + "- ",
            "\n" + " " * (item + 2),
        )
        key = rf"{_NAME}:(?=[ \n])"
        self._chart = re.compile(rf"{charts}(?:[\"']?(?P<name>{_NAME})[\"']?:[ ]*(?=\n)|(?![ #-])[^\n]*)")
        self._misfit = re.compile(
            rf"\n(?!{self._space[1:]}(?:[ -]|{key})|{self._dash[1:]}{key}|[ ]*(?:#|\n)|\Z)"
        )
        self._key = re.compile(rf"{self._space}(version|digest|urls):([^\n]*)((?:{self._space}[ -][^\n]*)*)")

    def blocks(self, body: str) -> Iterator[tuple[str | None, str]]:
        """What follows the name of each chart, from the end of its line."""
        found = list(self._chart.finditer(body))
        for one, following in zip(found, [*found[1:], None], strict=True):
            yield one["name"], body[one.end() : following.start() + 1 if following else len(body)]

    def fits(self, block: str) -> bool:
        """Whether every line is where it should be, and none refers to another."""
        has_signs = any(sign in block for sign in ("&", "*", "!", "<<:"))
        return self._misfit.search(block) is None and not (has_signs and _REFERS.search(block))

    def versions(self, block: str) -> list[ChartVersion] | None:
        """None: something in it takes YAML to read."""
        before, *items = block.split(self._dash)
        found = [self._version(f"{self._space}{item}") for item in items]
        if before.strip() or not all(found):
            return None
        return [version for version in found if version is not None]

    def _version(self, item: str) -> ChartVersion | None:
        fields = {key: (value.strip(), more) for key, value, more in self._key.findall(item)}
        version, digest = _scalar(*fields.get("version", ("", ""))), _scalar(*fields.get("digest", ("", "")))
        urls = _list(*fields.get("urls", ("", "")))
        if not version or digest is None or urls is None:
            return None
        return ChartVersion(version, _plain_digest(digest), urls)


def _scalar(value: str, more: str) -> str | None:
    """None: it cannot be read in this way, or is no text."""
    if more or not value:
        return None if more else ""
    if not _SIMPLE.fullmatch(value):
        return None
    if value[0] in "\"'":
        return value[1:-1]
    return value if type(scalar(value)) is str else None


def _list(value: str, more: str) -> tuple[str, ...] | None:
    values = []
    for line in more.split("\n")[1:]:
        dash, _, item = line.strip().partition(" ")
        found = _scalar(item.strip(), "")
        if dash != "-" or not found:
            return None
        values.append(found)
    return None if value else tuple(values)
