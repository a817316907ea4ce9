"""One journal file: how a record becomes a line, and how lines are read again.

A line is one JSON object: `t` type, `seq` from 0, `prev` the CRC of the line before, `d` the highest seq
known durable when it was written, `at` wall time, `m` monotonic nanoseconds, the record's own fields, and last
`crc`, the CRC-32 of all bytes before it. The CRC is for tearing and rot, not against attackers.

Bad bytes above the highest `d` that any whole line of the file states were never acknowledged: a torn tail.
Below it they are corruption. "A later line is whole, so this is corruption" would be wrong: pages of a
batch that was never synced reach the disk in any order.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from ...errors import StateCorrupt
from ...fingerprints import Json

_TAIL = len(b',"crc":"00000000"}\n')
NOTHING = "00000000"


class Encoder:
    """Chains records to lines; one for each journal."""

    def __init__(self) -> None:
        self.next_seq = 0
        self._prev = NOTHING

    def line(self, kind: str, durable: int, at: str, fields: Mapping[str, Json]) -> bytes:
        record = {
            "t": kind,
            "seq": self.next_seq,
            "prev": self._prev,
            "d": durable,
            "at": at,
            "m": time.monotonic_ns(),
            **fields,
        }
        body = to_json(record)[:-1]
        self._prev = f"{zlib.crc32(body):08x}"
        self.next_seq += 1
        return b'%b,"crc":"%b"}\n' % (body, self._prev.encode())


@dataclass(slots=True)
class OpenJournal:
    """A journal this process created, and how far it is durable."""

    number: int
    fd: int
    encoder: Encoder
    durable: int = -1


@dataclass(frozen=True, slots=True)
class Contents:
    """What can be read of a journal: its whole records up to the first bad byte."""

    records: list[dict[str, Any]]
    torn_at: int | None
    """The byte at which an unacknowledged tail begins, if there is one."""

    @property
    def head(self) -> dict[str, Any] | None:
        return self.records[0] if self.records and self.records[0].get("t") == "head" else None

    @property
    def seq(self) -> int:
        return len(self.records) - 1


def read_lines(data: bytes, file: Path, *, witnessed: int = -1) -> Contents:
    """The records of a journal; `witnessed` is a seq that some other file knows to be durable.

    Raises `StateCorrupt` if a record that was durable cannot be read.
    """
    records: list[dict[str, Any]] = []
    prev, offset, bad_at, durable = NOTHING, 0, None, witnessed
    for line in data.splitlines(keepends=True):
        record = whole(line)
        if record is not None:
            durable = max(durable, record["d"])
            if bad_at is None and record["seq"] == len(records) and record["prev"] == prev:
                records.append(record)
                prev = record["crc"]
                offset += len(line)
                continue
        if bad_at is None:
            bad_at = offset
        offset += len(line)
    if durable >= len(records):
        where = len(data) if bad_at is None else bad_at
        raise StateCorrupt(
            file, len(records), where, f"it was saved (up to record {durable}) and cannot be read"
        )
    return Contents(records, bad_at)


def whole(line: bytes) -> dict[str, Any] | None:
    """The record of a line that is as it was written, else None."""
    if len(line) <= _TAIL or line[-_TAIL:-11] != b',"crc":"':
        return None
    body, crc = line[:-_TAIL], line[-11:-3]
    if line[-3:] != b'"}\n' or b"%08x" % zlib.crc32(body) != crc:
        return None
    try:
        record: dict[str, Any] = from_json(line)
    except ValueError:
        return None
    named = (
        isinstance(record, dict) and isinstance(record.get("t"), str) and isinstance(record.get("prev"), str)
    )
    if not named or type(record.get("seq")) is not int or type(record.get("d")) is not int:
        return None
    return record
