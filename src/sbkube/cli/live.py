"""The live table: one row per app, its four stages as marks, at the bottom of the terminal.

A thread of its own draws. Events only change the picture under a lock, so a terminal that does not take output
(Ctrl-S, a slow line) never holds up a deployment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.events import Event, RunDraining, RunStopping, StepFinished
from ..engine.state import StepStatus
from .console import duration, plural
from .listener import Renderer
from .painter import Painter, Row
from .progress import error_lines, names
from .table import frame

if TYPE_CHECKING:
    from rich.text import Text

_PER_SECOND = 8
_SHARE = 20  # thousands of apps are drawn less often, so that drawing stays a small part
_PATIENCE = 1.0  # seconds for a terminal that does not take the last frame


class LiveTable(Renderer):
    def __init__(self, *args: Any, size: Callable[[], tuple[int, int]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._size = size or self.console.size
        self._above: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._painter = Painter(self.console.write)
        self._thread = threading.Thread(target=self._draw, name="sbkube display", daemon=True)

    def show(self, event: Event) -> None:
        with self._lock:
            super().show(event)
            if isinstance(event, StepFinished) and event.status is StepStatus.FAILED:
                self._above += self._failure(event)
            elif isinstance(event, RunDraining | RunStopping) and event.running:
                what = "starting nothing more, waiting for" if isinstance(event, RunDraining) else "stopping"
                count = plural(len(event.running), "step")
                self._above.append(self.console.paint(f"{what} {count}: {names(event.running, 5)}", "warn"))

    def _failure(self, event: StepFinished) -> list[str]:
        first, *rest = error_lines(event.error, 8)
        again = f", attempt {event.attempt}" if event.attempt > 1 else ""
        mark = self.console.paint(f"{self.console.marks.failed} {event.step}", "bad")
        head = f"{mark}  {first} (after {duration(event.seconds or 0.0)}{again})"
        return [head, *(f"    {line}" for line in rest)]

    def _say_above(self, text: str) -> None:
        with self._lock:
            self._above.append(text)

    def give_up(self) -> None:
        self._over.set()
        self.console.above = None
        self._painter.finish()
        for text in self._above:
            self.console.write(text + "\n")

    # Drawing

    def open(self) -> None:
        self.console.above = self._say_above
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)
        self.console.above = None

    def _draw(self) -> None:
        self.guard(self._draw_until_over)

    def _draw_until_over(self) -> None:
        as_rows([], 80, False)  # loads rich, here where nobody waits for it
        pause = 1 / _PER_SECOND
        while not self._over.wait(pause):
            begun = time.thread_time()
            self.paint()
            pause = max(1 / _PER_SECOND, _SHARE * (time.thread_time() - begun))
        if not self.is_broken:
            self.paint(last=True)

    def paint(self, *, last: bool = False) -> None:
        columns, height = self._size()
        with self._lock:
            above, self._above = self._above, []
            shown = frame(self.progress, self.clock(), columns, height, self.console.marks, last=last)
        self._painter.paint(above, as_rows(shown, columns, self.console.color), columns)
        if last:
            self._painter.finish()


def as_rows(shown: Sequence[Text], columns: int, color: bool) -> list[Row]:
    from io import StringIO

    from rich.console import Console

    file = StringIO()
    rich = Console(
        file=file, force_terminal=True, color_system="standard", no_color=not color, width=columns + 1
    )
    for row in shown:
        rich.print(row, no_wrap=True, overflow="ignore", crop=False)
    return [Row(text, row.cell_len) for text, row in zip(file.getvalue().splitlines(), shown, strict=True)]
