"""Releases in memory for tests: revisions, statuses, labels and refusals as the real Helms have them, in their words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import yaml
from anyio.lowlevel import checkpoint

from .base import HelmCrashed, HelmTimeout, Rendered, RenderRequest
from .fake_cluster import (
    NAME,
    NAMESPACE,
    Call,
    Dies,
    Fails,
    FakeCluster,
    Hangs,
    Key,
    Object,
    Request,
    Stack,
    Stored,
    annotations_of,
    keyed,
    owner_of,
    rendered_objects,
)
from .looking import Query, Server
from .refusals import refusal
from .releases import (
    BESIDES,
    HELMS_LABELS,
    DeployRequest,
    Release,
    ReleaseContents,
    ReleaseError,
    ReleaseMissing,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)
from .split import HOOK

_IN_USE = "release name check failed: cannot reuse a name that is still in use"
_IN_PROGRESS = "another operation (install/upgrade/rollback) is in progress"


class FakeReleases:
    def __init__(self, cluster: FakeCluster, render: Callable[[RenderRequest], Rendered]) -> None:
        self.cluster = cluster
        self._render = render

    async def install(self, request: DeployRequest) -> Release:
        async with self._call("install", request):
            stored = self._history(request)
            free = (ReleaseStatus.UNINSTALLED, ReleaseStatus.FAILED)
            if stored and not (request.replace and stored[-1].status in free):
                raise _refused(request, _IN_USE)
            rendered = self._rendered(request, is_upgrade=False)
            fresh = self._fresh(request, rendered, ReleaseStatus.PENDING_INSTALL, {})
            self._refuse_owned(request, fresh.objects, "install")
            if request.namespace not in self.cluster.namespaces:
                raise _refused(
                    request, f'create: failed to create: namespaces "{request.namespace}" not found'
                )
            stored.append(fresh)
            self.cluster.releases[request.namespace, request.name] = stored
            if not request.skip_crds:
                self.cluster.create(keyed(rendered_objects(rendered.crds), request.namespace))
            with self._undone_if_atomic(request, "uninstalled", lambda: self._purge(request, fresh)):
                await self._carried_out("install", request, fresh, {}, stored[:-1])
            return fresh.release

    async def upgrade(self, request: DeployRequest) -> Release:
        async with self._call("upgrade", request):
            stored = self._history(request)
            if stored and stored[-1].status.is_pending:
                raise _refused(request, _IN_PROGRESS)
            current = _to_upgrade(stored)
            if current is None:
                raise _refused(request, f'"{request.name}" has no deployed releases')
            rendered = self._rendered(request, is_upgrade=True)
            labels = stored[-1].release.labels
            fresh = self._fresh(request, rendered, ReleaseStatus.PENDING_UPGRADE, labels)
            self._refuse_owned(request, fresh.objects, "update")
            _make_room(stored, request.max_history)
            stored.append(fresh)
            with self._undone_if_atomic(request, "rolled back", lambda: self._back_to(stored, current)):
                await self._carried_out("upgrade", request, fresh, current.objects, stored[:-1])
            return fresh.release

    async def rollback(self, request: RollbackRequest) -> Release:
        async with self._call("rollback", request):
            stored = self._existing(request)
            target = _revision(stored, request.revision)
            if target is None:
                raise _refused(request, f"release has no {request.revision} version")
            current = stored[-1]
            _make_room(stored, request.max_history)
            fresh = _again(target, current, ReleaseStatus.PENDING_ROLLBACK)
            stored.append(fresh)
            await self._carried_out("rollback", request, fresh, current.objects, stored[:-1])
            return fresh.release

    async def uninstall(self, request: UninstallRequest) -> bool:
        async with self._call("uninstall", request):
            try:
                stored = self._existing(request)
            except ReleaseMissing:
                return False
            newest = stored[-1]
            if newest.status is not ReleaseStatus.UNINSTALLED:
                newest.become(ReleaseStatus.UNINSTALLING)
                self._run_hooks("pre-delete", newest, request)
                await self._suffer(request)
                self.cluster.delete(newest.objects)
                self._run_hooks("post-delete", newest, request)
            elif request.keep_history:
                raise _refused(request, f'the release named "{request.name}" is already deleted')
            newest.become(ReleaseStatus.UNINSTALLED)
            if not request.keep_history:
                del self.cluster.releases[request.namespace, request.name]
            return True

    async def history(self, name: str, namespace: str) -> list[Release]:
        await self._reach()
        return [stored.release for stored in self.cluster.releases.get((namespace, name), ())]

    async def get(self, name: str, namespace: str, revision: int | None = None) -> ReleaseContents | None:
        await self._reach()
        found = _revision(self.cluster.releases.get((namespace, name), ()), revision)
        return found.contents if found else None

    async def list(self, namespace: str | None = None) -> list[Release]:
        await self._reach()
        if namespace is None and not self.cluster.may_list_everywhere:
            text = 'list: failed to list: secrets is forbidden: User "fake" cannot list resource "secrets"'
            raise refusal(f'{text} in API group "" at the cluster scope', "", "")
        newest = [stored[-1].release for stored in self.cluster.releases.values() if stored]
        here = [release for release in newest if namespace in (None, release.namespace)]
        return sorted(here, key=lambda release: (release.name, release.namespace))

    async def server(self) -> Server:
        await self._reach()
        return self.cluster.server

    async def look(self, queries: Sequence[Query]) -> Sequence[Any]:
        await self._reach()
        return [self.cluster.found(query) for query in queries]

    async def aclose(self) -> None:
        await checkpoint()

    # Calls

    @asynccontextmanager
    async def _call(self, what: str, request: Request) -> AsyncIterator[None]:
        self.cluster.calls.append(Call(what, request))
        await self._reach()
        limit = request.time_limit or request.timeout + BESIDES
        with anyio.move_on_after(limit) as scope:
            yield
        if scope.cancelled_caught:
            raise HelmTimeout(limit)

    async def _reach(self) -> None:
        await checkpoint()
        if not self.cluster.is_reachable:
            text = 'Get "https://fake/version": dial tcp: connect: connection refused'
            raise refusal(f"kubernetes cluster unreachable: {text}", "", "")

    async def _carried_out(
        self,
        how: str,
        request: DeployRequest | RollbackRequest,
        fresh: Stored,
        before: Mapping[Key, Object],
        earlier: Sequence[Stored],
    ) -> None:
        """From `pending-*` to `deployed` or `failed`; whatever else ends it leaves it pending."""
        try:
            self._run_hooks(f"pre-{how}", fresh, request)
            self.cluster.apply(fresh.objects, fresh.release)
            self.cluster.delete(before.keys() - fresh.objects.keys())
            await self._suffer(request)
            await self._wait(request, fresh)
            self._run_hooks(f"post-{how}", fresh, request)
        except ReleaseError:
            fresh.become(ReleaseStatus.FAILED)
            raise
        _supersede(earlier)
        fresh.become(ReleaseStatus.DEPLOYED)

    async def _suffer(self, request: Request) -> None:
        fault = self.cluster.fault(request.name)  # before anything can be cancelled
        await checkpoint()
        match fault:
            case Fails(text):
                raise _refused(request, text)
            case Hangs():
                await anyio.sleep_forever()
            case Dies():
                raise HelmCrashed("the process that ran Helm ended (killed by SIGKILL)")

    async def _wait(self, request: DeployRequest | RollbackRequest, fresh: Stored) -> None:
        if request.wait not in ("watcher", "legacy"):
            return
        with anyio.move_on_after(request.timeout) as scope:
            await self.cluster.ready(request.name)
        if scope.cancelled_caught:
            key = next(iter(fresh.objects))
            named = f"resource {key.kind}/{key.namespace}/{key.name} not ready. status: InProgress, message: held\n"
            raise _refused(
                request, (named if request.wait == "watcher" else "") + "context deadline exceeded"
            )

    def _run_hooks(self, event: str, stored: Stored, request: Request) -> None:
        if request.disable_hooks:
            return
        for hook in rendered_objects(stored.rendered.hooks):
            if event in (one.strip() for one in annotations_of(hook)[HOOK].split(",")):
                self.cluster.hooks.append(f"{event} {hook['kind']}/{hook['metadata']['name']}")
                self.cluster.put(hook, namespace=request.namespace)

    # Failed and atomic

    @contextmanager
    def _undone_if_atomic(
        self, request: DeployRequest, done: str, undo: Callable[[], None]
    ) -> Iterator[None]:
        try:
            yield
        except ReleaseError as error:
            if not request.atomic:
                raise
            undo()
            said = (
                f"release {request.name} failed, and has been {done} due to rollback-on-failure being set: "
            )
            raise _refused(request, said + error.said) from error

    def _purge(self, request: DeployRequest, fresh: Stored) -> None:
        self.cluster.delete(fresh.objects)
        del self.cluster.releases[request.namespace, request.name]

    def _back_to(self, stored: Stack, target: Stored) -> None:
        fresh = _again(target, stored[-1], ReleaseStatus.DEPLOYED)
        self.cluster.apply(target.objects, fresh.release)
        self.cluster.delete(stored[-1].objects.keys() - target.objects.keys())
        _supersede(stored)
        stored.append(fresh)

    # What is there

    def _history(self, request: Request) -> Stack:
        return self.cluster.releases.get((request.namespace, request.name), [])

    def _existing(self, request: Request) -> Stack:
        if not (stored := self._history(request)):
            raise _refused(request, "release: not found")
        return stored

    def _rendered(self, request: DeployRequest, *, is_upgrade: bool) -> Rendered:
        wanted = RenderRequest(
            request.chart, request.name, request.namespace, request.values, is_upgrade=is_upgrade
        )
        return self._render(wanted)

    def _fresh(
        self, request: DeployRequest, rendered: Rendered, status: ReleaseStatus, labels: Mapping[str, str]
    ) -> Stored:
        if reserved := HELMS_LABELS & request.labels.keys():
            raise _refused(request, f"user supplied labels contains system reserved label name: {reserved}")
        if too_long := [value for value in request.labels.values() if len(value) > 63]:
            raise _refused(
                request, f"metadata.labels: Invalid value: {too_long[0]!r}: must be no more than 63 bytes"
            )
        stored = self._history(request)
        metadata = yaml.safe_load((request.chart / "Chart.yaml").read_text())
        release = Release(
            request.name,
            request.namespace,
            stored[-1].release.revision + 1 if stored else 1,
            status,
            f"{metadata['name']}-{metadata.get('version', '')}",
            _now(),
            {**labels, **request.labels},
        )
        return Stored(release, rendered, dict(request.values))

    def _refuse_owned(self, request: DeployRequest, objects: Mapping[Key, Object], doing: str) -> None:
        """The first object that is there and not this release's."""
        if request.take_ownership:
            return
        for key in objects:
            known = self.cluster.objects.get(key)
            if known is not None and (why := _not_ours(known, request)):
                what = f'{key.kind} "{key.name}" in namespace "{key.namespace}"'
                told = f"exists and cannot be imported into the current release: invalid ownership metadata; {why}"
                raise _refused(request, f"unable to continue with {doing}: {what} {told}")


def _refused(request: Request, text: str) -> Exception:
    return refusal(text, request.name, request.namespace)


def _not_ours(one: Object, request: DeployRequest) -> str:
    wanted = {NAME: request.name, NAMESPACE: request.namespace}
    for (key, value), found in zip(wanted.items(), owner_of(one), strict=True):
        if found is None:
            return f'annotation validation error: missing key "{key}": must be set to "{value}"'
        if found != value:
            return (
                f'annotation validation error: key "{key}" must equal "{value}": current value is "{found}"'
            )
    return ""


def _to_upgrade(stored: Sequence[Stored]) -> Stored | None:
    """The newest deployed revision; else the newest, if it failed or was superseded."""
    for one in reversed(stored):
        if one.status is ReleaseStatus.DEPLOYED:
            return one
    last = stored[-1] if stored else None
    is_over = last is not None and last.status in (ReleaseStatus.FAILED, ReleaseStatus.SUPERSEDED)
    return last if is_over else None


def _revision(stored: Sequence[Stored], revision: int | None) -> Stored | None:
    """None or 0: the newest."""
    if not revision:
        return stored[-1] if stored else None
    return next((one for one in stored if one.release.revision == revision), None)


def _again(target: Stored, newest: Stored, status: ReleaseStatus) -> Stored:
    """The target's content and labels as a revision of its own."""
    revision = newest.release.revision + 1
    return replace(target, release=replace(target.release, revision=revision, status=status, updated=_now()))


def _supersede(stored: Sequence[Stored]) -> None:
    for one in stored:
        if one.status is ReleaseStatus.DEPLOYED or one.status is ReleaseStatus.UNINSTALLED:
            one.become(ReleaseStatus.SUPERSEDED)


def _make_room(stored: Stack, most: int) -> None:
    """For one more, oldest first; what is deployed stays. 0: there is always room."""
    spare = len(stored) - (most - 1) if most else 0
    for one in [one for one in stored if one.status is not ReleaseStatus.DEPLOYED][: max(0, spare)]:
        stored.remove(one)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
