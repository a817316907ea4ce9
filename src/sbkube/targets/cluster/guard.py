"""A second pair of eyes on a lease: see `guard_program.py`, which this starts and tells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from sbkube.process import watch_groups

from .holding import Extend

MARK = "SBKUBE_LOCK"
"""In the environment of all that is started under a lock."""
_PROGRAM = Path(__file__).with_name("guard_program.py")


@contextmanager
def guarding() -> Iterator[Extend]:
    """What it yields is told until when, by `holding.since_boot`, what this process starts may live.

    That goes for all that the process starts, also for another run in it.
    """
    token = uuid4().hex
    read_end, write_end = os.pipe()
    try:
        program = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM), f"{MARK}={token}"],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=os.sep,
            start_new_session=True,  # no signal of a terminal is meant for it
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    os.set_blocking(write_end, False)

    def say(word: str, value: float) -> None:
        with suppress(OSError):
            os.write(write_end, f"{word} {value!r}\n".encode())

    try:
        with watch_groups(lambda group: say("start", group), lambda group: say("end", group), {MARK: token}):
            yield lambda until: say("until", until)
    finally:
        os.close(write_end)
        program.kill()
        program.wait()
