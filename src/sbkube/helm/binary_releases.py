"""Releases through the `helm` program, 3 or 4: a process for each call.

Neither prints a release's labels where it lists them. `kubectl get secrets --show-labels` does so without moving what the
Secrets hold; without kubectl only the newest revision of one release has its labels. One release, both can print
through a template of ours, labels and all, except for its values.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from uuid import uuid4

import anyio

from .base import HelmError, absolute
from .flags import Flavour, deploy_flags, flavour_of, rollback_flags, uninstall_flags
from .looking import NAME, Query, Server, chart_files, found_in, notes_of, server_in, server_notes
from .program import run_helm, scratch, values_file
from .refusals import refusal
from .releases import (
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
    own_labels,
)
from .secret_labels import secret_labels

_ALL = "1000000"  # revisions or releases; Helm stops at 256 by itself
_STATES = ("deployed", "failed", "pending", "superseded", "uninstalled", "uninstalling")
_MISLEADING = re.compile(r"HELM_(KUBE\w+|NAMESPACE|DEBUG)")
"""Variables by which Helm would go to another cluster than the one we say, or add to what it says."""

MOST_PROCESSES = 64
"""That wait for readiness at once, each with some 40 MB of its own."""

_Several = list[Release]  # in the class `list` is a method


class BinaryReleases:
    def __init__(self, program: str, cluster: Cluster, environ: Mapping[str, str]) -> None:
        self._program = program
        self._cluster = cluster
        kept = {name: value for name, value in environ.items() if not _MISLEADING.fullmatch(name)}
        # One process asks more often than its own throttle of 5 a second allows, if a chart is large.
        unthrottled = {"HELM_QPS": "1000", "HELM_BURST_LIMIT": "2000", "TZ": "UTC"}
        self._environ = {**kept, **unthrottled, **cluster.environment()}
        self._kubectl = shutil.which("kubectl", path=environ.get("PATH"))
        self._known: Flavour | None = None
        self._asking = anyio.Lock()
        self._changing = anyio.CapacityLimiter(MOST_PROCESSES)

    async def install(self, request: DeployRequest) -> Release:
        return await self._deploy("install", request)

    async def upgrade(self, request: DeployRequest) -> Release:
        return await self._deploy("upgrade", request)

    async def rollback(self, request: RollbackRequest) -> Release:
        async with self._turn() as folder:
            flags = [*rollback_flags(request, await self._flavour())]
            limit = request.time_limit or request.timeout + BESIDES
            names = [request.name, str(request.revision)]
            await self._at("rollback", flags, names, request.namespace, folder, limit)
        made, _ = await self._printed(request.name, request.namespace)
        return made

    async def uninstall(self, request: UninstallRequest) -> bool:
        async with self._turn() as folder:
            flags = [*uninstall_flags(request, await self._flavour())]
            limit = request.time_limit or request.timeout + BESIDES
            try:
                await self._at("uninstall", flags, [request.name], request.namespace, folder, limit)
            except ReleaseMissing:
                return False
        return True

    async def history(self, name: str, namespace: str) -> list[Release]:
        with scratch() as folder:
            flags = [f"--max={_ALL}", "--output=json"]
            try:
                printed = await self._at("history", flags, [name], namespace, folder, LOOK_LIMIT)
            except ReleaseMissing:
                return []
        found = sorted(
            (_listed({**row, "name": name, "namespace": namespace}) for row in json.loads(printed)),
            key=lambda release: release.revision,
        )
        if self._kubectl is None and found:
            newest, _ = await self._printed(name, namespace, found[-1].revision)
            return [*found[:-1], newest]
        return await self._with_labels(found, namespace, name)

    async def get(self, name: str, namespace: str, revision: int | None = None) -> ReleaseContents | None:
        try:
            release, (manifest, notes, *hooks) = await self._printed(name, namespace, revision)
            with scratch() as folder:
                flags = [f"--revision={release.revision}", "--output=json"]
                values = await self._at("get values", flags, [name], namespace, folder, LOOK_LIMIT)
        except ReleaseMissing:
            return None
        sources = zip(hooks[::2], hooks[1::2], strict=True)
        told = "".join(f"---\n# Source: {path}\n{text}\n" for path, text in sources)
        return ReleaseContents(release, manifest, told, json.loads(values) or {}, notes)

    async def list(self, namespace: str | None = None) -> list[Release]:
        where = ["--all-namespaces"] if namespace is None else [f"--namespace={namespace}"]
        states = [f"--{state}" for state in _STATES]
        flags = [*where, *states, "--max=0", "--time-format=2006-01-02T15:04:05Z07:00", "--output=json"]
        with scratch() as folder:
            printed = await self._run(["list", *flags], folder, LOOK_LIMIT, "", namespace or "")
        return await self._with_labels([_listed(row) for row in json.loads(printed)], namespace)

    async def server(self) -> Server:
        try:
            return server_in(await self._look(server_notes(with_uid=True)))
        except Forbidden:
            return server_in(await self._look(server_notes(with_uid=False)))

    async def look(self, queries: Sequence[Query]) -> Sequence[Any]:
        return found_in(await self._look(notes_of(queries)))

    async def aclose(self) -> None:
        """Nothing lives longer than its call."""

    # Calls

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Path]:
        """To change something, which may wait for long; whoever only looks has none to wait for."""
        async with self._changing:
            with scratch() as folder:
                yield folder

    async def _deploy(self, how: Literal["install", "upgrade"], request: DeployRequest) -> Release:
        helm = await self._flavour()
        async with self._turn() as folder:
            flags = [*deploy_flags(request, helm, is_install=how == "install"), "--output=json"]
            values = f"--values={values_file(folder, request.values, request.chart)}"
            printed = await self._at(
                how,
                [*flags, values],
                [request.name, absolute(request.chart)],
                request.namespace,
                folder,
                request.time_limit or request.timeout + BESIDES,
                request.environment,
            )
        return _made(json.loads(printed), request.labels)

    async def _look(self, notes: str) -> str:
        with scratch() as folder:
            for path, text in chart_files(notes).items():
                file = folder / "chart" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            flags = ["--dry-run=server", "--namespace=default", "--output=json"]
            arguments = ["install", *flags, NAME, str(folder / "chart")]
            printed = await self._run(arguments, folder, LOOK_LIMIT, "", "")
        return str(json.loads(printed)["info"]["notes"])

    async def _printed(
        self, name: str, namespace: str, revision: int | None = None
    ) -> tuple[Release, Sequence[str]]:
        """One revision, with its labels; then manifest, notes, and path and text of each hook."""
        between = uuid4().hex
        with scratch() as folder:
            flags = [f"--revision={revision or 0}", f"--template={_TEMPLATE.replace('BETWEEN', between)}"]
            printed = await self._at("get all", flags, [name], namespace, folder, LOOK_LIMIT)
        summary, *texts = printed.split(between)
        made, count, status, chart, updated, *labels = summary.splitlines()
        pairs = dict(label.split("=", 1) for label in labels)
        found = Release(
            made,
            namespace,
            int(count),
            ReleaseStatus(status),
            chart,
            _to_the_second(updated),
            own_labels(pairs),
        )
        return found, texts

    async def _with_labels(
        self, releases: _Several, namespace: str | None, name: str | None = None
    ) -> _Several:
        if self._kubectl is None:
            return releases
        labels = await secret_labels(self._kubectl, self._cluster, self._environ, namespace, name)
        return [
            replace(one, labels=labels.get((one.namespace, one.name, one.revision), {})) for one in releases
        ]

    async def _at(
        self,
        command: str,
        flags: Sequence[str],
        names: Sequence[str],
        namespace: str,
        folder: Path,
        limit: float,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """A command about one release, whose name comes first."""
        arguments = [*command.split(), *flags, f"--namespace={namespace}", "--", *names]
        return await self._run(arguments, folder, limit, names[0], namespace, environ)

    async def _run(
        self,
        arguments: Sequence[str],
        folder: Path,
        limit: float,
        name: str,
        namespace: str,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        context = [f"--kube-context={self._cluster.context}"] if self._cluster.context else []
        return await run_helm(
            self._program,
            [*context, *arguments],
            folder,
            {**self._environ, **environ},
            time_limit=limit,
            refuse=partial(_refused, name=name, namespace=namespace),
        )

    async def _flavour(self) -> Flavour:
        async with self._asking:
            if self._known is None:
                with scratch() as folder:
                    arguments = ["version", "--template={{.Version}}"]
                    self._known = flavour_of(await self._run(arguments, folder, LOOK_LIMIT, "", ""))
            return self._known


def _refused(text: str, name: str, namespace: str) -> HelmError:
    return refusal(re.sub(r"^(INSTALLATION|UPGRADE) FAILED: ", "", text), name, namespace)


_TEMPLATE = (
    "{{.Release.Name}}\n{{.Release.Version}}\n{{.Release.Info.Status}}\n"
    "{{.Release.Chart.Metadata.Name}}-{{.Release.Chart.Metadata.Version}}\n"
    '{{.Release.Info.LastDeployed.Format "2006-01-02T15:04:05Z07:00"}}\n'
    "{{range $name, $value := .Release.Labels}}{{$name}}={{$value}}\n{{end}}"
    "BETWEEN{{.Release.Manifest}}BETWEEN{{.Release.Info.Notes}}"
    "{{range .Release.Hooks}}BETWEEN{{.Path}}BETWEEN{{.Manifest}}{{end}}"
)


def _listed(row: Mapping[str, Any]) -> Release:
    return Release(
        row["name"],
        row["namespace"],
        int(row["revision"]),
        ReleaseStatus(row["status"]),
        row["chart"],
        _to_the_second(row["updated"]),
    )


def _made(printed: Mapping[str, Any], labels: Mapping[str, str]) -> Release:
    metadata = printed["chart"]["metadata"]
    return Release(
        printed["name"],
        printed["namespace"],
        printed["version"],
        ReleaseStatus(printed["info"]["status"]),
        f"{metadata['name']}-{metadata['version']}",
        _to_the_second(printed["info"]["last_deployed"]),
        dict(labels),
    )


def _to_the_second(time: str) -> str:
    return re.sub(r"\.\d+", "", time)
