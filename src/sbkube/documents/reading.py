"""Text to data in one pass over libyaml's events.

Composing nodes first, as PyYAML does, is recursive: a file of a hundred thousand brackets ends the process.
Aliases share what they name; they are counted as if written out, so that a bomb is refused where it is lit
and not where somebody copies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from sbkube.documents.document import Document, InvalidYaml, UnreadableFile
from sbkube.documents.scalars import MERGE, TAG, describe, key_text, scalar, tagged
from sbkube.errors import Position

Keys = Literal["text", "go"]
MOST_LEVELS = 100
MOST_VALUES = 1_000_000
LARGEST = 256 * 1024 * 1024
"""Bytes of a file that are read: beyond that it is no text that somebody wrote."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path, *, keys: Keys = "go") -> Document:
    """The one document of a file."""
    return parse(read_text(path), file=path, keys=keys)


def read_text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise UnreadableFile(f"is larger than {LARGEST >> 20} MiB", where=Position(path))
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableFile("there is no such file", where=Position(path)) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreadableFile(f"cannot be read: {reason}", where=Position(path)) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidYaml(
            f"is not UTF-8: byte 0x{content[error.start]:02x}",
            where=Position(path, line),
            hint="save the file with the encoding UTF-8",
        ) from error


def parse(text: str, *, file: Path, keys: Keys = "go") -> Document:
    """The one document of a text; a text without any is one that holds nothing. Empty ones may follow."""
    documents = _documents(text, file, keys)
    first = next(documents, Document(file, None))
    for second in documents:
        if second.data is None:  # a `---` at the end
            continue
        raise InvalidYaml(
            f"a second document starts here, the first is in line {first.line}",
            where=second.position(),
            hint="keep one document per file",
        )
    return first


def parse_all(text: str, *, file: Path) -> list[Document]:
    """Every document of a stream, by Go's rules."""
    return list(_documents(text, file, "go"))


_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_HINTS = {
    "mapping values are not allowed": "quote a value that contains `: `, or check the indentation",
    "did not find expected key": "check the indentation of this line and the one before",
    "cannot start any token": "YAML takes no tabs for indentation; quote a value that starts with @, ` or %",
    "found undefined alias": "define the anchor (`&name`) before its alias",
}


def _documents(text: str, file: Path, keys: Keys) -> Iterator[Document]:
    text = text.removeprefix("\ufeff")
    if bad := _FORBIDDEN.search(text):
        line, column = text.count("\n", 0, bad.start()) + 1, bad.start() - text.rfind("\n", 0, bad.start())
        raise InvalidYaml(
            f"the character {bad[0]!r} is not allowed in YAML", where=Position(file, line, column)
        )
    loader = _Loader(text)
    try:
        while True:
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                yield _Reader(loader, file, keys).document()
            elif isinstance(event, yaml.StreamEndEvent):
                return
    except yaml.YAMLError as error:
        raise _syntax_error(error, file) from error
    finally:
        loader.dispose()


def _syntax_error(error: yaml.YAMLError, file: Path) -> InvalidYaml:
    problem = str(getattr(error, "problem", None) or error)
    mark, begin = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    hint = next((hint for part, hint in _HINTS.items() if part in problem), None)
    if begin is not None and mark is not None and begin.line != mark.line:
        problem += f", {error.context} that starts in line {begin.line + 1}"  # type: ignore[attr-defined]
    where = Position(file) if mark is None else Position(file, mark.line + 1, mark.column + 1)
    if "nesting depth" in problem:  # PyYAML has a limit of its own since 6.0.4, far above ours
        return InvalidYaml(
            f"values are nested more than {MOST_LEVELS} levels deep", where=Position(file, where.line)
        )
    return InvalidYaml(f"is not valid YAML: {problem}", where=where, hint=hint)


class _Node:
    """A value with all that its parent must know of it. `raw` is the text of a scalar."""

    __slots__ = ("height", "line", "raw", "size", "value")

    def __init__(self, value: Any, line: int, raw: str | None = None, size: int = 1, height: int = 0) -> None:
        self.value, self.line, self.raw, self.size, self.height = value, line, raw, size, height


class _Open:
    """A mapping or list that has not ended."""

    __slots__ = ("anchor", "key", "key_line", "lines", "merging", "node", "texts")

    def __init__(self, value: Any, line: int, anchor: str | None) -> None:
        self.node = _Node(value, line)
        self.anchor = anchor
        self.key: str | None = None
        self.key_line = line
        self.lines: Any = {} if type(value) is dict else []
        self.texts: dict[str | int | None, str] = {}
        self.merging: list[dict[str, Any]] = []


class _Reader:
    """One document, event by event."""

    def __init__(self, loader: Any, file: Path, keys: Keys) -> None:
        self._next, self._file, self._keys = loader.get_event, file, keys
        self._open: list[_Open] = []
        self._anchors: dict[str, _Node | None] = {}
        self._lines: dict[int, Any] = {}
        self._texts: dict[int, Any] = {}
        self._expanded = 0

    def document(self) -> Document:
        while True:
            node = self._node(self._next())
            if node is None:
                continue
            if not self._open:
                return Document(self._file, node.value, node.line, self._lines, self._texts)
            self._place(self._open[-1], node)

    def _refuse(self, message: str, line: int, hint: str | None = None) -> InvalidYaml:
        return InvalidYaml(message, where=Position(self._file, line), hint=hint)

    def _node(self, event: Any) -> _Node | None:
        """The value that this event completes."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return self._scalar(event)
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._start(event, {} if kind is yaml.MappingStartEvent else [])
            return None
        if kind is yaml.AliasEvent:
            return self._alias(event)
        return self._end()

    def _scalar(self, event: Any) -> _Node:
        raw, tag, line = event.value, event.tag, event.start_mark.line + 1
        try:
            value = tagged(tag, raw) if tag else scalar(raw) if event.implicit[0] else raw
        except KeyError:
            raise self._refuse(f"the tag {tag!r} is not supported", line, "remove the tag") from None
        except ValueError:
            raise self._refuse(f"{raw!r} is no {tag.removeprefix(TAG)}, which its tag says", line) from None
        node = _Node(value, line, raw)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _start(self, event: Any, value: Any) -> None:
        line, tag = event.start_mark.line + 1, event.tag
        if len(self._open) >= MOST_LEVELS:
            raise self._refuse(f"values are nested more than {MOST_LEVELS} levels deep", line)
        if tag is not None and tag not in ("!", TAG + ("map" if type(value) is dict else "seq")):
            raise self._refuse(f"the tag {tag!r} is not supported", line, "remove the tag")
        self._open.append(_Open(value, line, event.anchor))
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _end(self) -> _Node:
        done = self._open.pop()
        node = done.node
        for merged in done.merging:
            self._merge(done, merged, [key for key in merged if key not in node.value])
        self._lines[id(node.value)] = done.lines
        if done.texts:
            self._texts[id(node.value)] = done.texts
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        return node

    def _alias(self, event: Any) -> _Node:
        line = event.start_mark.line + 1
        if event.anchor not in self._anchors:
            raise self._refuse(f"the alias `*{event.anchor}` has no anchor before it", line)
        node = self._anchors[event.anchor]
        if node is None:
            raise self._refuse(f"the alias `*{event.anchor}` stands inside what it names", line)
        self._expanded += node.size
        if self._expanded > MOST_VALUES:
            raise self._refuse(f"aliases make more than {MOST_VALUES:,} values of this file", line)
        if len(self._open) + node.height > MOST_LEVELS:
            raise self._refuse(f"values are nested more than {MOST_LEVELS} levels deep", line)
        return _Node(node.value, line, node.raw, node.size, node.height)

    def _place(self, parent: _Open, node: _Node) -> None:
        whole = parent.node
        whole.size += node.size
        if node.height >= whole.height:
            whole.height = node.height + 1
        entries = whole.value
        if type(entries) is list:
            if type(node.value) is not str and node.raw is not None:
                parent.texts[len(entries)] = node.raw
            entries.append(node.value)
            parent.lines.append(node.line)
        elif parent.key is None:
            parent.key, parent.key_line = self._key(parent, node), node.line
        else:
            self._enter(parent, node)

    def _enter(self, parent: _Open, node: _Node) -> None:
        key, parent.key = parent.key, None
        if key is MERGE:
            self._take_merge(parent, node)
            return
        if type(node.value) is not str and node.raw is not None:
            parent.texts[key] = node.raw
        parent.node.value[key] = node.value
        parent.lines[key] = parent.key_line

    def _key(self, parent: _Open, node: _Node) -> str:
        if node.raw is None or (node.value is None and self._keys == "go"):
            raise self._refuse(f"a key must be text, not {describe(node.value)}", node.line)
        key = key_text(node.value) if self._keys == "go" or node.value is MERGE else node.raw
        if self._keys == "text" and key in parent.lines:
            message = f"the key {key!r} stands here a second time, first in line {parent.lines[key]}"
            raise self._refuse(message, node.line, "keep one of them")
        parent.texts.pop(key, None)
        return key

    def _take_merge(self, parent: _Open, node: _Node) -> None:
        """In Go a merge also replaces what stands above it; in our own files what is written out wins."""
        values = node.value if type(node.value) is list else [node.value]
        if any(type(value) is not dict for value in values):
            raise self._refuse("`<<` takes a mapping or a list of mappings", parent.key_line)
        if self._keys == "text":
            parent.merging.extend(values)
        else:
            for value in reversed(values):
                self._merge(parent, value, value)

    def _merge(self, into: _Open, merged: dict[str, Any], keys: Iterable[str]) -> None:
        lines, texts = self._lines[id(merged)], self._texts.get(id(merged), {})
        for key in keys:
            into.node.value[key] = merged[key]
            into.lines[key] = lines[key]
            into.texts.pop(key, None)
            if key in texts:
                into.texts[key] = texts[key]
