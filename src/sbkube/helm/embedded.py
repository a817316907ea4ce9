"""Helm as a library, in worker processes that can be killed.

A native call can neither be cancelled nor limited in time, a fatal error in Go ends its process, and Go reads only the
environment of the process's start. So the library runs in processes of its own: as many as cores, started when
needed, one request at a time in each. One whose answer is no longer wanted is killed and replaced.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import anyio
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from ..process import Exit, forget_group, marked, register_group, signal_group
from .base import (
    INSTALL_HINT,
    LARGEST_ANSWER,
    TIME_LIMIT,
    ChartError,
    HelmCrashed,
    HelmError,
    HelmMissing,
    HelmTimeout,
    LintMessage,
    Rendered,
    RenderError,
    RenderRequest,
    ValuesError,
    absolute,
    as_json,
)
from .releases import Cluster, Releases

START_LIMIT = 30.0  # seconds until a worker has loaded the library, on a machine that is very busy
REAP_LIMIT = 0.3  # seconds to wait for a killed worker; the caller may be a person at Ctrl-C
LONGEST_SAID = 64 * 1024


class EmbeddedHelm:
    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        workers: int | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._slots = anyio.CapacityLimiter(workers or _cores())
        self._idle: list[_Worker] = []
        self._time_limit = time_limit
        self._closed = False

    async def render(self, request: RenderRequest) -> Rendered:
        wanted = {
            "do": "render",
            "chart": absolute(request.chart),
            "release": request.release,
            "namespace": request.namespace,
            "values": as_json(request.values, request.chart),
            "kube_version": request.capabilities.kube_version,
            "api_versions": request.capabilities.api_versions,
            "include_crds": request.include_crds,
            "is_upgrade": request.is_upgrade,
        }
        answer = await self._ask(wanted, request.chart, request.time_limit)
        return Rendered(**answer).trimmed()

    async def template(self, request: RenderRequest) -> str:
        return (await self.render(request)).text

    async def lint(self, chart: Path, values: Mapping[str, Any]) -> list[LintMessage]:
        wanted = {"do": "lint", "chart": absolute(chart), "values": as_json(values, chart)}
        found = await self._ask(wanted, chart)
        return [LintMessage(*message) for message in found]

    def releases(self, cluster: Cluster) -> Releases:
        from .embedded_releases import EmbeddedReleases

        return EmbeddedReleases(cluster, self._environ)

    async def version(self) -> str:
        return str(await self._ask({"do": "version"}, None))

    async def aclose(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def _ask(
        self, request: Mapping[str, Any], chart: Path | None, time_limit: float | None = None
    ) -> Any:
        limit = time_limit or self._time_limit
        async with self._slots:
            worker = await self._worker()
            try:
                with anyio.fail_after(limit):
                    answer = await worker.ask(request)
            except TimeoutError as error:
                await worker.end()
                raise HelmTimeout(limit, chart=chart) from error
            except _Gone as error:
                raise HelmCrashed(await worker.last_words(), chart=chart) from error
            except BaseException:
                await worker.end()
                raise
            if self._closed:
                await worker.end()
            else:
                self._idle.append(worker)
        if "ok" in answer:
            return answer["ok"]
        raise _error(answer["error"], answer["text"], chart)

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.lives:
                return worker
            await worker.end()
        return await _started(self._environ)


def _error(kind: str, text: str, chart: Path | None) -> HelmError:
    if kind == "dependencies":
        return ChartError(text, chart=chart, hint=f"run `helm dependency build {chart}`")
    classes: dict[str, type[HelmError]] = {
        "chart": ChartError,
        "values": ValuesError,
        "render": RenderError,
        "crashed": HelmCrashed,
    }
    return classes.get(kind, HelmError)(text, chart=chart)


class _Gone(Exception):
    """The worker has closed its end: it died."""


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes], stream: UNIXSocketStream) -> None:
        self._process = process
        self._stderr = stderr
        self._stream = stream
        self._answers = BufferedByteReceiveStream(stream)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    async def ask(self, request: Mapping[str, Any]) -> Any:
        try:
            await self._stream.send(json.dumps(request).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _Gone from error
        return await self.answer()

    async def answer(self) -> Any:
        try:
            line = await self._answers.receive_until(b"\n", LARGEST_ANSWER)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise _Gone from error
        except anyio.DelimiterNotFound as error:
            raise RenderError(f"the rendered chart is larger than {LARGEST_ANSWER // 1024**2} MB") from error
        self._said()  # notices of a call that went well are nobody's business
        return json.loads(line)

    async def end(self) -> None:
        """Kill it now; bounded, also when the kernel takes its time to give back its memory."""
        signal_group(self._process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(REAP_LIMIT):
                while self.lives:  # noqa: ASYNC110 - no event that both platforms know
                    await anyio.sleep(0.002)
            await self._stream.aclose()
        self._stderr.close()
        if self.lives:
            _unreaped.append(self)
        forget_group(self._process.pid)

    async def last_words(self) -> str:
        with anyio.move_on_after(REAP_LIMIT, shield=True):
            while self.lives:  # noqa: ASYNC110 - it has closed its socket: it is about to end by itself
                await anyio.sleep(0.002)
        words = self._said().strip()
        await self.end()
        ended = Exit(self._process.returncode or 0, 0.0)
        return f"the process that ran Helm ended by itself ({ended})" + (f": {words}" if words else "")

    def _said(self) -> str:
        """What it wrote to its standard error since the last answer: at most what fits the pipe."""
        try:
            return os.read(self._stderr.fileno(), LONGEST_SAID).decode(errors="replace")
        except BlockingIOError:
            return ""


_unreaped: list[_Worker] = []


async def _started(environ: Mapping[str, str]) -> _Worker:
    _unreaped[:] = [worker for worker in _unreaped if worker.lives]
    worker = await _spawned(environ)
    try:
        with anyio.fail_after(START_LIMIT):
            answer = await worker.answer()
    except _Gone as error:
        raise HelmCrashed(await worker.last_words()) from error
    except BaseException:
        await worker.end()
        raise
    if "ok" not in answer:
        await worker.end()
        raise HelmMissing(f"Helm's library cannot be loaded: {answer['text']}", hint=INSTALL_HINT)
    return worker


async def _spawned(environ: Mapping[str, str]) -> _Worker:
    process, ours = started_program("worker", environ)
    assert process.stderr is not None
    with anyio.CancelScope(shield=True):  # wraps at once; cancelled in between, nobody would own the process
        stream = await UNIXSocketStream.from_socket(ours)
    return _Worker(process, process.stderr, stream)


def started_program(module: str, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """One of our own that runs Helm's library, `main` of a module beside this file, and our end of its socket.

    It has a group of its own, which is killed with all others; what it says on stderr may be read without waiting.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = _popen(module, theirs.fileno(), environ)
        except OSError as error:
            ours.close()
            raise HelmError(f"the process for Helm cannot be started: {error}") from error
    register_group(process.pid)
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    return process, ours


def _popen(module: str, connection: int, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # argv[0] becomes the field manager of what Helm applies, so it is `helm`, beside the interpreter (that is how a
    # virtual environment is found). Isolated from the current folder, with the modules that we see ourselves.
    name = os.path.join(os.path.dirname(sys.executable), "helm")
    return subprocess.Popen(
        [name, "-I", "-c", _PROGRAM.format(module), str(connection), *sys.path],
        executable=sys.executable,
        pass_fds=[connection],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=marked({"GOGC": "400", **environ}),  # a third of the time, for memory that is given back soon
        start_new_session=True,
    )


_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from sbkube.helm.{} import main; main()"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
