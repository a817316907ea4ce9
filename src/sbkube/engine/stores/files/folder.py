"""The journals' folder: whoever creates a number owns it, and fences off all lower ones."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import Fenced, StateNotWritable
from ...fingerprints import Json
from .disk import Disk, write_all
from .journal import Encoder, OpenJournal, whole

_JOURNAL = re.compile(r"(\d{6,})\.jsonl")


@dataclass(frozen=True, slots=True)
class JournalFolder:
    folder: Path

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"

    def numbers(self, disk: Disk) -> list[int]:
        """Newest first."""
        found = (_JOURNAL.fullmatch(name) for name in disk.names(self.folder))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def claim(self, disk: Disk) -> OpenJournal:
        number = max(self.numbers(disk), default=0) + 1
        while True:
            try:
                return self.create(disk, number)
            except FileExistsError:
                number += 1

    def create(self, disk: Disk, number: int) -> OpenJournal:
        """Raises FileExistsError if another has the number."""
        fd = disk.create(self.path(number))
        try:
            disk.sync_folder(self.folder)
        except BaseException:
            disk.close(fd)
            raise
        return OpenJournal(number, fd, Encoder())

    def refuse_if_fenced(self, disk: Disk, number: int) -> None:
        """Raises `Fenced` if there is any newer journal; the next number alone may have been removed since."""
        numbers = self.numbers(disk)
        if numbers and numbers[0] > number:
            raise Fenced(self.path(numbers[0]))
        if number not in numbers:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path(number)))

    def write_head(self, disk: Disk, journal: OpenJournal, at: str, fields: Mapping[str, Json]) -> None:
        """Durable when it returns; from then on recovery finds this journal."""
        head = self._head(journal, at, fields)
        write_all(disk, journal.fd, head)
        disk.sync(journal.fd)
        disk.sync_folder(self.folder)
        journal.durable = 0

    def _head(self, journal: OpenJournal, at: str, fields: Mapping[str, Json]) -> bytes:
        try:
            head = journal.encoder.line("head", -1, at, {**fields, "journal": journal.number})
            readable = whole(head) is not None
        except ValueError as error:
            raise StateNotWritable(self.path(journal.number), str(error)) from error
        if not readable:
            # Written all the same, it would take with it whatever is recorded after it.
            why = "what the run was opened with cannot be read back: it is nested too deeply"
            raise StateNotWritable(self.path(journal.number), why)
        return head
