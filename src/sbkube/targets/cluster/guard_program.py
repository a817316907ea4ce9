"""Kills what a run has started once its lease has run out, whatever has become of the run: a process of its own.

The run says on standard input which process groups it starts and how far its lease goes. If it is suspended or hangs,
it says nothing more, and its children are killed in time. If it is killed, its children may go on until the lease
ends. A child that was started in the moment of that, and not told of, is found by the mark that all of them have in
their environment, where /proc shows it. Runs by itself, without anything of sbkube's.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from contextlib import suppress

LOOK = 0.1  # seconds; one long sleep would not notice that the machine was suspended


class Groups:
    """Process groups, told apart from later ones with the same number by when their leaders began."""

    def __init__(self, mark: str) -> None:
        self.mark = mark.encode()
        self.running: dict[int, str] = {}
        self.ended: set[int] = set()

    def hear(self, word: str, group: int) -> None:
        if word == "start":
            self.running[group] = start_of(group)
            self.ended.discard(group)
        else:
            self.running.pop(group, None)
            self.ended.add(group)  # what is left of it in the background is its own affair

    def find_untold(self) -> None:
        for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
            with suppress(OSError):
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    is_ours = self.mark in environ.read().split(b"\0")
                if is_ours and (group := os.getpgid(int(pid))) not in self.ended:
                    self.running.setdefault(group, start_of(group))

    def forget_gone(self) -> None:
        self.running = {group: start for group, start in self.running.items() if is_there(group)}

    def kill(self) -> None:
        self.find_untold()
        for group, start in self.running.items():
            # Not a stranger who has the number by now: while a member lives, it is given to no one else.
            if start_of(group) in ("", start):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        self.running.clear()


def main(mark: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    until, groups, heard, listens, is_over = math.inf, Groups(mark), b"", True, False
    while listens or groups.running:
        if select.select([0] if listens else [], [], [], LOOK)[0]:
            data = os.read(0, 65536)
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                word, _, value = line.decode().partition(" ")
                if word == "until":
                    until, is_over = float(value), False
                else:
                    groups.hear(word, int(value))
            if not data:
                listens = False
                groups.find_untold()
        if not listens:
            groups.forget_gone()
        if time.clock_gettime(clock) >= until and (groups.running or not is_over):
            is_over = True
            groups.kill()


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def start_of(pid: int) -> str:
    """When its process began; empty where there is none, or no telling."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


if __name__ == "__main__":
    main(sys.argv[1])
