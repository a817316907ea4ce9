"""Releases through Helm's library: one worker process for one cluster, which carries many calls at once.

Each call has a connection of its own to the worker; what closes without an answer died. A native call cannot be
cancelled, and a library's context that cancels leaves the deploy running behind our back. So a call that is no longer
wanted ends with its process, at once when it is the only one there. Among others it goes on by itself until
Helm's own timeout: what became of it, the next look at the release tells.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from sbkube.helm.base import LARGEST_ANSWER, HelmCrashed, HelmMissing, HelmTimeout, as_json
from sbkube.helm.embedded import START_LIMIT, started_program
from sbkube.helm.looking import (
    NAME,
    Query,
    Server,
    chart_files,
    found_in,
    notes_of,
    server_in,
    server_notes,
)
from sbkube.helm.refusals import refusal
from sbkube.helm.releases import (
    BESIDES,
    LOOK_LIMIT,
    Cluster,
    DeployRequest,
    Forbidden,
    Release,
    ReleaseContents,
    ReleaseMissing,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
    Wait,
    own_labels,
)
from sbkube.process import Exit, forget_group, signal_group

_WAITS: Mapping[Wait, str] = {
    "watcher": "watcher",
    "legacy": "legacy",
    "hooks": "hookOnly",
    "none": "hookOnly",
}

SOFT_LIMIT = "256MiB"
"""From there on Go tidies up more often: 200 deploys that wait then take 100 MB less, in the same time."""


class EmbeddedReleases:
    def __init__(self, cluster: Cluster, environ: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._environ = {"GOMEMLIMIT": SOFT_LIMIT, **environ, **cluster.environment()}
        self._worker: _Worker | None = None
        self._starting = anyio.Lock()

    async def install(self, request: DeployRequest) -> Release:
        options = {"replace": True} if request.replace else {}
        return await self._deploy("install", request, {**options, "server_side_apply": request.server_side})

    async def upgrade(self, request: DeployRequest) -> Release:
        options = {
            "server_side_apply": str(request.server_side).lower(),
            "max_history": request.max_history,
            "reset_values": True,  # else an upgrade without values takes those of the revision before
        }
        return await self._deploy("upgrade", request, options)

    async def rollback(self, request: RollbackRequest) -> Release:
        options = {
            "version": request.revision,
            "timeout_seconds": _whole(request.timeout),
            "wait": _WAITS[request.wait],
            "wait_for_jobs": request.wait_for_jobs,
            "disable_hooks": request.disable_hooks,
            "max_history": request.max_history,
            "force_conflicts": request.force_conflicts and request.server_side,
            "server_side_apply": str(request.server_side).lower(),
        }
        limit = request.time_limit or request.timeout + BESIDES
        wanted = {"do": "rollback", "options": options}
        return _release(await self._ask(wanted, request.name, request.namespace, limit))

    async def uninstall(self, request: UninstallRequest) -> bool:
        options = {
            "keep_history": request.keep_history,
            "timeout_seconds": _whole(request.timeout),
            "wait": "watcher" if request.wait else "hookOnly",
            "disable_hooks": request.disable_hooks,
        }
        limit = request.time_limit or request.timeout + BESIDES
        try:
            await self._ask({"do": "uninstall", "options": options}, request.name, request.namespace, limit)
        except ReleaseMissing:
            return False
        return True

    async def history(self, name: str, namespace: str) -> list[Release]:
        try:
            found = await self._ask({"do": "history"}, name, namespace, LOOK_LIMIT)
        except ReleaseMissing:
            return []
        return sorted(map(_release, found), key=lambda release: release.revision)

    async def get(self, name: str, namespace: str, revision: int | None = None) -> ReleaseContents | None:
        try:
            found = await self._ask({"do": "get", "revision": revision}, name, namespace, LOOK_LIMIT)
        except ReleaseMissing:
            return None
        hooks = "".join(f"---\n# Source: {hook['path']}\n{hook['manifest']}\n" for hook in found["hooks"])
        release = _release(found["release"])
        return ReleaseContents(release, found["manifest"], hooks, found["values"], found["notes"])

    async def server(self) -> Server:
        try:
            return server_in(await self._look(server_notes(with_uid=True)))
        except Forbidden:
            return server_in(await self._look(server_notes(with_uid=False)))

    async def look(self, queries: Sequence[Query]) -> Sequence[Any]:
        return found_in(await self._look(notes_of(queries)))

    async def _look(self, notes: str) -> str:
        wanted = {"do": "look", "files": chart_files(notes), "context": self._cluster.context, "name": NAME}
        return str(await self._call(wanted, LOOK_LIMIT, "", ""))

    async def aclose(self) -> None:
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.end()

    async def list(self, namespace: str | None = None) -> list[Release]:
        wanted = {"do": "list", "context": self._cluster.context, "namespace": namespace}
        found = await self._call(wanted, LOOK_LIMIT, "", namespace or "")
        return [_release(release) for release in found]

    # Calls

    async def _deploy(self, how: str, request: DeployRequest, more: Mapping[str, Any]) -> Release:
        wanted = {
            "do": "deploy",
            "how": how,
            "chart": str(request.chart.absolute()),
            "values": as_json(request.values, request.chart),
            "options": {**_options(request), **more},
        }
        limit = request.time_limit or request.timeout + BESIDES
        return _release(await self._ask(wanted, request.name, request.namespace, limit))

    async def _ask(self, wanted: Mapping[str, Any], name: str, namespace: str, limit: float) -> Any:
        request = {**wanted, "context": self._cluster.context, "name": name, "namespace": namespace}
        return await self._call(request, limit, name, namespace)

    async def _call(self, request: Mapping[str, Any], limit: float, name: str, namespace: str) -> Any:
        worker = await self._ready()
        answer = await worker.ask(request, limit)
        if "ok" in answer:
            return answer["ok"]
        raise refusal(answer["text"], name, namespace)

    async def _ready(self) -> _Worker:
        async with self._starting:
            if self._worker is not None and not self._worker.takes_calls:
                await self.aclose()
            if self._worker is None:
                self._worker = await _started(self._environ)
            return self._worker


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._calls = 0
        self._left_alone = 0
        """Calls that nobody waits for any more and that go on."""

    @property
    def takes_calls(self) -> bool:
        return self._process.poll() is None

    async def ask(self, request: Mapping[str, Any], limit: float) -> Any:
        self._calls += 1
        try:
            with anyio.move_on_after(limit):
                return await self._asked(request)
            self._left_alone += 1
            raise HelmTimeout(limit)
        except anyio.get_cancelled_exc_class():
            self._left_alone += 1
            raise
        finally:
            self._calls -= 1
            if self._left_alone and self._calls == 0:
                self.end()

    async def _asked(self, request: Mapping[str, Any]) -> Any:
        stream = await self._connected()
        try:
            await stream.send(json.dumps(request).encode() + b"\n")
            answer = await BufferedByteReceiveStream(stream).receive_until(b"\n", LARGEST_ANSWER)
            return json.loads(answer)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise HelmCrashed(self._last_words()) from error
        finally:
            await anyio.aclose_forcefully(stream)

    async def _connected(self) -> UNIXSocketStream:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise HelmCrashed(self._last_words()) from error
        with anyio.CancelScope(shield=True):  # wraps at once
            stream = await UNIXSocketStream.from_socket(ours)
        return stream  # noqa: RET504 - mypy takes a scope for one that swallows

    def end(self) -> None:
        """Kill it now. What it was doing is seen, and mended, at the next look at those releases."""
        signal_group(self._process.pid, signal.SIGKILL)
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.3)
        if self._process.stderr is not None:
            self._process.stderr.close()
        forget_group(self._process.pid)

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.3)
        words = ""
        if self._process.stderr is not None and not self._process.stderr.closed:
            words = os.read(self._process.stderr.fileno(), 64 * 1024).decode(errors="replace").strip()
        ended = Exit(self._process.returncode or 0, 0.0)
        return f"the process that ran Helm ended ({ended})" + (f": {words}" if words else "")


async def _started(environ: Mapping[str, str]) -> _Worker:
    process, ours = started_program("release_worker", environ)
    worker = _Worker(process, ours)
    try:
        ours.setblocking(False)
        with anyio.fail_after(START_LIMIT):
            await anyio.wait_readable(ours)
            if not ours.recv(1):
                raise HelmMissing("Helm's library cannot be loaded: " + worker._last_words())
        ours.setblocking(True)
    except BaseException:
        worker.end()
        raise
    return worker


def _options(request: DeployRequest) -> dict[str, Any]:
    return {
        "labels": dict(request.labels),
        "description": request.description or "",
        "timeout_seconds": _whole(request.timeout),
        "wait": _WAITS[request.wait],
        "wait_for_jobs": request.wait_for_jobs,
        "rollback_on_failure": request.atomic,
        "skip_crds": request.skip_crds,
        "disable_hooks": request.disable_hooks,
        "take_ownership": request.take_ownership,
        "force_conflicts": request.force_conflicts and request.server_side,
        # It costs 200 ms and 10 MB a deploy, and says nothing that the server does not say when it applies.
        "disable_openapi_validation": True,
    }


def _whole(seconds: float) -> int:
    return max(1, round(seconds))


def _release(found: Mapping[str, Any]) -> Release:
    return Release(
        name=found["name"],
        namespace=found["namespace"],
        revision=found["revision"],
        status=ReleaseStatus(found["status"]),
        chart=f"{found['chart_name']}-{found['chart_version']}",
        updated=found["deployed_at"],
        labels=own_labels(found.get("labels") or {}),
    )
