"""The `helm` program: a process for each call, killed with all its children when its answer is no longer wanted.

Also when we are killed ourselves: one that went on would change a release while the next sbkube takes it for abandoned. A
child that waits for the end of a pipe of which we alone hold the other side sees to that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread

from ..errors import is_disk_full
from ..process import END_WITH_LIFELINE, CannotStart, CommandTimedOut, lifeline, run_process
from .base import (
    INSTALL_HINT,
    LARGEST_ANSWER,
    LONGEST_TEXT,
    HelmCrashed,
    HelmError,
    HelmMissing,
    HelmTimeout,
    RenderError,
    as_json,
)

Refuse = Callable[[str], HelmError]
"""The error for what Helm said when it refused."""


async def run_helm(
    program: str,
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    *,
    time_limit: float,
    refuse: Refuse | None,
    chart: Path | None = None,
) -> str:
    """What it prints, to the byte; `folder` is a scratch folder of this call. Without `refuse` it may fail."""
    errors = _Errors()
    output = folder / "output"
    try:
        with lifeline() as line:
            ended = await run_process(
                # into a file: the output is wanted to the byte, apart from the errors, and may be large
                ["/bin/sh", "-c", _SCRIPT, "sh", str(line), str(output), program, *arguments],
                cwd=folder,
                env=environ,
                on_line=errors.add,
                time_limit=time_limit,
                grace=0.0,
                keeps_open=[line],
            )
    except CommandTimedOut as error:
        raise HelmTimeout(time_limit, chart=chart) from error
    except CannotStart as error:
        raise HelmError(error.message, hint=error.hint) from error
    if ended.code in (126, 127):
        raise HelmMissing(f"{program!r} cannot be started: {errors.text}", hint=INSTALL_HINT)
    if ended.code < 0 or ended.code > 128:
        raise HelmCrashed(f"helm was {ended}: {errors.text}", chart=chart)
    if not ended.ok and refuse is not None:
        raise refuse(errors.text)
    return await to_thread.run_sync(_content, output)


_SCRIPT = f"""\
{END_WITH_LIFELINE}
output=$2
shift 2
exec "$@" >"$output"
"""


@contextmanager
def scratch() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="sbkube-helm-") as folder:  # 0700
            yield Path(folder)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise HelmError(
            f"cannot write in `{tempfile.gettempdir()}`: {error.strerror}",
            hint="free some space there, or set TMPDIR to another folder",
        ) from error


def values_file(folder: Path, values: Mapping[str, Any], chart: Path) -> str:
    path = folder / "values.json"
    path.touch(0o600)
    path.write_text(as_json(values, chart))
    return str(path)


def _content(path: Path) -> str:
    if path.stat().st_size > LARGEST_ANSWER:
        raise RenderError(f"the rendered chart is larger than {LARGEST_ANSWER // 1024**2} MB")
    return path.read_bytes().decode(errors="replace")


class _Errors:
    """The lines of standard error from the last `Error:` on; the rest are notices. Bounded."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0

    def add(self, line: str) -> None:
        if line.startswith("Error: "):
            self._lines, self._size = [], 0
            line = line.removeprefix("Error: ")
        if self._size < 32 * LONGEST_TEXT:
            self._lines.append(line)
            self._size += len(line)

    @property
    def text(self) -> str:
        text = "\n".join(self._lines)
        return text.removesuffix("\n\nUse --debug flag to render out invalid YAML").strip()
