"""Where output goes and how it looks: decided once, from the streams, the environment and the flags.

Data goes to stdout, narration to stderr. Nothing here fails a run: a stream that is gone is written to no more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from ..engine.state import StepStatus
    from .background import Background
    from .listener import Listener, LogPath

Output = Literal["text", "json", "ndjson"]
Style = Literal["", "good", "bad", "warn", "run", "dim", "strong"]

_PIECE = 64 * 1024

SGR: Mapping[Style, str] = {"good": "32", "bad": "31", "warn": "33", "run": "36", "dim": "2", "strong": "1"}


class Narration(Enum):
    LIVE = auto()
    """A table in a terminal that moves."""
    LINES = auto()
    SILENT = auto()
    """Only data, and errors."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Signs that make sense without colour."""

    done: str
    kept: str
    failed: str
    blocked: str
    cancelled: str
    retry: str
    pending: str
    question: str
    spinner: str
    dot: str
    more: str


UNICODE = Marks("✓", "=", "✗", "⊘", "■", "↻", "·", "?", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", " · ", "…")
ASCII = Marks("+", "=", "x", "#", "!", "~", ".", "?", "|/-\\", ", ", "...")


@dataclass(slots=True)
class Console:
    """The two streams of a command, and what it may do with them."""

    out: TextIO
    err: TextIO
    output: Output = "text"
    narration: Narration = Narration.LINES
    color: bool = False
    marks: Marks = UNICODE
    above: Callable[[str], None] | None = field(default=None, repr=False)
    """Set while a live table stands below: it places what is said above itself."""
    lost: OSError | None = None
    """Why data did not reach stdout; a reader that went away is no such reason."""
    _background: Background | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        out: TextIO,
        err: TextIO,
        *,
        output: Output = "text",
        progress: bool = True,
    ) -> Console:
        return cls(
            out,
            err,
            output=output,
            narration=_narration(environ, output, progress, out.isatty(), err.isatty()),
            color=speaks_color(environ, err.isatty()),
            marks=UNICODE if _speaks_unicode(environ, err) else ASCII,
        )

    def data(self, text: str) -> None:
        """To stdout, one line or more."""
        self._soon(self._write_data, text if text.endswith("\n") else text + "\n")

    def pour(self, file: TextIO) -> None:
        """To stdout as it stands, however much it is; a last line that was cut off is ended."""
        last = ""
        while piece := file.read(_PIECE):
            self._write_data(piece)
            last = piece[-1]
        if last not in ("", "\n"):
            self._write_data("\n")

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Within, output is written by a thread of its own; at the end all of it is."""
        from .background import Background

        self._background = Background()
        try:
            yield
        finally:
            background, self._background = self._background, None
            background.close()

    def _soon(self, write: Callable[[str], None], text: str) -> None:
        if self._background is None:
            write(text)
        else:
            self._background.put(write, text)

    def _write_data(self, text: str) -> None:
        try:
            _write(self.out, text)
        except BrokenPipeError:
            _silence(self.out)
        except OSError as error:
            self.lost = self.lost or error
            _silence(self.out)

    def say(self, text: str = "", style: Style = "") -> None:
        """Narration, one line or more, to stderr."""
        if self.narration is not Narration.SILENT:
            self._tell(self.paint(text, style))

    def error(self, message: str, hint: str | None = None) -> None:
        """What was wrong, and what to do about it; also where narration is silent."""
        self._tell(f"{self.paint('error:', 'bad')} {message}")
        if hint:
            self._tell(f"{self.paint('hint:', 'run')} {hint}")

    def warn(self, message: str) -> None:
        """Also where narration is silent."""
        self._tell(f"{self.paint('warning:', 'warn')} {message}")

    def _tell(self, text: str) -> None:
        if self.above is not None:
            self.above(text)
        else:
            self._soon(self.write, text + "\n")

    def write(self, text: str) -> None:
        """To stderr as it is, at once."""
        try:
            _write(self.err, text)
        except OSError:
            _silence(self.err)

    def paint(self, text: str, style: Style) -> str:
        return painted(text, style) if self.color else text

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal behind stderr."""
        try:
            columns, rows = os.get_terminal_size(self.err.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def listener(
        self,
        steps: Mapping[str, tuple[str, str]],
        initial: Mapping[str, StepStatus],
        *,
        log_path: LogPath | None = None,
    ) -> Listener:
        """What shows a run: a context manager that takes its events."""
        from .listener import Listener

        return Listener(self, steps, initial, log_path=log_path)


def painted(text: str, style: Style) -> str:
    return f"\x1b[{SGR[style]}m{text}\x1b[0m" if style and text else text


def _narration(
    environ: Mapping[str, str], output: Output, progress: bool, out_tty: bool, err_tty: bool
) -> Narration:
    moves = err_tty and progress and environ.get("TERM") != "dumb" and not is_ci(environ)
    if output == "text":
        return Narration.LIVE if moves else Narration.LINES
    # Beside data only where the two cannot mix: a terminal on stderr alone.
    return Narration.LIVE if moves and not out_tty else Narration.SILENT


def is_ci(environ: Mapping[str, str]) -> bool:
    return environ.get("CI", "").lower() not in ("", "0", "false", "no")


def speaks_color(environ: Mapping[str, str], is_tty: bool) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "") not in ("", "0", "false"):
        return True
    return is_tty and environ.get("TERM") != "dumb"


def _speaks_unicode(environ: Mapping[str, str], stream: TextIO) -> bool:
    if "utf" not in (getattr(stream, "encoding", None) or "utf-8").lower():
        return False
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named.upper() == "C.UTF-8" and not environ.get("LC_ALL") and environ.get("LANG") in ("C", "POSIX"):
        # Python itself sets LC_CTYPE in a plain C locale; what the terminal was promised is LANG.
        return False
    return named not in ("C", "POSIX")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _silence(stream: TextIO) -> None:
    """What is still buffered would fail again when the interpreter ends, and change the exit code."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass


def duration(seconds: float) -> str:
    """`0.2s`, `42.1s`, `1m04s`, `2h03m`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(line: str) -> str:
    """One line of a stranger's output, without what would move the cursor or change colours."""
    line = _ESCAPES.sub("", line).rstrip("\r\n")
    line = line.rpartition("\r")[2]  # a progress bar draws over itself: what stands there last
    return _CONTROLS.sub("", line).expandtabs(4)
