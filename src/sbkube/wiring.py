"""Opens what one run works with and puts it together: the one place that picks implementations."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync

from sbkube import __version__
from sbkube.apps.base import App, Stage
from sbkube.apps.digesting import digest_all, digest_or_explain
from sbkube.apps.exec import ExecApp
from sbkube.apps.helm import HelmApp
from sbkube.apps.log import StepLog
from sbkube.apps.work import Json, Outputs, OutputUnwritable, Work
from sbkube.choosing import Helms, TargetWishes, choose_target
from sbkube.config.models import Settings
from sbkube.config.project import Project
from sbkube.engine import (
    ExecutionState,
    InputsChanged,
    Limits,
    RunControl,
    Selection,
    Step,
    StepContext,
    StepGraph,
)
from sbkube.engine.step import Body
from sbkube.engine.stores.base import Plan
from sbkube.errors import SbkubeError, is_disk_full
from sbkube.fetch.fetching import OFFLINE, Fetching, offline_by
from sbkube.helm.base import Helm
from sbkube.key import StateKey, keyed_digest
from sbkube.leftovers import Attempt
from sbkube.planning import AppPlace, StagePlan, plan_stages, readings, unsuited
from sbkube.selecting import Asked, selection
from sbkube.targets.base import Target

if TYPE_CHECKING:
    from sbkube.targets.cluster.target import ClusterTarget

STATE_FOLDER = ".sbkube"
WORK, DEPLOY = 8, 256
"""Default sizes of the pools: `work` (prepare, build, commands) and `deploy`, mostly waiting; `render` is one a core."""
_OUTPUTS_ARE_KEPT = 7 * 24 * 3600.0
"""Seconds for which an output that nothing refers to stays: another profile may go back to it."""


def state_folder(project: Path, override: str | None, environ: Mapping[str, str]) -> Path:
    chosen = override or environ.get("SBKUBE_STATE_DIR")
    return Path(chosen).absolute() if chosen else project / STATE_FOLDER


@dataclass(frozen=True, slots=True)
class Planned:
    """A project as steps, and what was asked for of them."""

    project: Project
    stages: tuple[StagePlan, ...]
    digests: Mapping[Path, str | None]
    graph: StepGraph
    select: Selection


@dataclass(slots=True)
class Workshop:
    """What the steps of one run share."""

    project: Project
    state: Path
    target: Target
    environ: Mapping[str, str]
    helms: Helms
    is_offline: bool = False
    control: RunControl = field(default_factory=RunControl)
    outputs: Outputs = field(init=False)
    fetch: Fetching = field(init=False)
    incomplete_logs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outputs = Outputs(self.state / "out")
        self.fetch = open_fetching(self.project, self.environ, is_offline=self.is_offline)

    async def plan(self, asked: Asked, earlier: Plan | None) -> Planned:
        for error in unsuited(self.project, self.target.identity):
            raise error
        read = await run_sync(readings, self.project, abandon_on_cancel=True)  # it only reads
        files = [file for reading in read.values() for file in reading.files]
        digests = await digest_all(files)
        stages = plan_stages(
            self.project,
            read,
            digests,
            target=self.target.identity,
            secret=partial(keyed_digest, self.key.read(), self.environ),
            earlier=earlier,
        )
        graph = StepGraph(self._step(stage, digests) for stage in stages)
        return Planned(self.project, tuple(stages), digests, graph, selection(self.project, stages, asked))

    @property
    def key(self) -> StateKey:
        return StateKey(self.state / "key")

    async def keep_key(self) -> bool:
        """Writes the key that digests secrets if there is none; True if it did."""
        if self.key.is_there:
            return False
        await run_sync(self.key.write)
        return True

    @property
    def cluster(self) -> ClusterTarget | None:
        """The target, if it is a cluster and an app has objects for it."""
        deploys = any(app.enabled and app.is_deployed for app in self.project.apps.values())
        return self.cluster_target if deploys else None

    @property
    def cluster_target(self) -> ClusterTarget | None:
        if self.target.kind != "cluster":
            return None
        from sbkube.targets.cluster.target import ClusterTarget

        assert isinstance(self.target, ClusterTarget)
        return self.target

    def choose_helm(self) -> None:
        """Raises `HelmMissing` before anything runs if an app needs Helm and there is none."""
        apps = [app for app in self.project.apps.values() if app.enabled]
        if self.cluster is not None or any(isinstance(app, HelmApp) for app in apps):
            self.helms.choose()

    async def reach_first(self) -> None:
        """Before there is a state folder: a cluster that cannot be reached is to leave none behind."""
        target = self.cluster_target
        if target is None or self.state.exists():
            return
        try:
            await target.check()
        except BaseException:
            with anyio.move_on_after(5, shield=True):
                await self.helms.close()
            raise

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.fetch.aclose)
            closing.push_async_callback(self.helms.close)
            closing.push_async_callback(self.target.finish)

    async def would_prune(self, asked: Asked) -> tuple[str, ...]:
        """Apps that a completed run would remove from the target."""
        kept = self._kept(asked)
        return tuple(await self.target.would_prune(kept)) if kept else ()

    def _kept(self, asked: Asked) -> set[str]:
        """The apps that stay when the target is pruned; without one, nothing is."""
        # A config that was emptied by accident must not empty the target.
        apps = {} if asked.is_partial else self.project.apps
        return {name for name, app in apps.items() if app.enabled and app.is_deployed}

    async def tidy(self, state: ExecutionState, asked: Asked) -> list[str]:
        """After a run: what no app has any more goes from the target; returns what was pruned."""
        used = [step.output["path"] for step in state.steps.values() if _has_path(step.output)]
        await run_sync(self.outputs.remove_unused, used, time.time() - _OUTPUTS_ARE_KEPT)
        kept = self._kept(asked)
        return await self.target.prune(kept) if kept and state.is_complete else []

    # Steps

    def _step(self, stage: StagePlan, digests: Mapping[Path, str | None]) -> Step:
        place = AppPlace(self.project, stage.app)
        return Step(
            stage.id,
            self._body(stage, place) if stage.stage is not None else None,
            needs=stage.needs,
            reads=stage.reads,
            after=stage.after,
            inputs=stage.inputs,
            late_inputs=partial(self._inputs_now, stage, place, digests) if stage.files else None,
            pools=stage.pools,
            time_limit=None if place.app.ends_in_time else stage.time_limit,
            retry=stage.retry,
            on_interrupt=stage.on_interrupt,
            output_holds=self._output_holds(place.app, stage),
            enabled=stage.enabled,
        )

    def _output_holds(self, app: App, stage: StagePlan) -> Callable[[Json], Awaitable[bool]] | None:
        if stage.stage is None:
            return None
        if stage.stage != "deploy":
            return partial(self._stage_holds, app, stage.stage)
        return partial(self._target_holds, stage.app) if app.is_deployed else None

    async def _stage_holds(self, app: App, stage: Stage, output: Json) -> bool:
        if not await self.outputs.holds(output):
            return False
        return await run_sync(app.is_made_for, stage, self.outputs.path(output), self.target)

    async def _target_holds(self, app: str, output: Json) -> bool:
        return isinstance(output, dict) and await self.target.holds(app, output)

    def _body(self, stage: StagePlan, place: AppPlace) -> Body:
        assert stage.stage is not None
        return partial(self._perform, stage, stage.stage, place)

    async def _perform(self, planned: StagePlan, stage: Stage, place: AppPlace, context: StepContext) -> Json:
        place = self._with_outputs(planned, place, context.results)
        path = self.log_path(planned.app, stage, context.run, context.attempt)
        log = StepLog(path, context.log, partial(self._log_unwritable, context))
        try:
            return await self._result(planned, stage, place, context, log)
        except Exception as error:
            failure = self._in_words(error, planned.app, stage)
            await log.write_error(failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            with anyio.move_on_after(5, shield=True):
                await log.close()

    async def _result(
        self, planned: StagePlan, stage: Stage, place: AppPlace, context: StepContext, log: StepLog
    ) -> Json:
        if isinstance(place.app, ExecApp):
            await self._show_files(planned, context, log)
        if stage == "deploy":
            return await place.app.perform(
                stage, self._work(planned, place, context, log, self.outputs.folder)
            )
        out = await self.outputs.fresh(planned.app, stage)
        try:
            await place.app.perform(stage, self._work(planned, place, context, log, out))
            return await self.outputs.keep(out)
        finally:
            with anyio.move_on_after(5, shield=True):
                await self.outputs.discard(out)

    async def _show_files(self, planned: StagePlan, context: StepContext, log: StepLog) -> None:
        """To commands: what the apps that they depend on have fetched, where a clone lay in the old layout."""
        for id, result in context.results.items():
            app = id.rpartition(":")[0]
            if self.project.fetched.is_by(app) and not await self.outputs.show(
                app, self.outputs.path(result)
            ):
                await log.write(
                    f"`repos/{app}` of the state folder is not what was fetched now: move it away"
                )

    def _with_outputs(self, planned: StagePlan, place: AppPlace, results: Mapping[str, Json]) -> AppPlace:
        """Where what the stage reads of other apps lies, by what these returned: in this run, or the one it goes on with."""
        fetched = {
            id.rpartition(":")[0]: self.outputs.path(results[id]) for id in planned.reads if id in results
        }
        return replace(place, outputs=fetched)

    async def _inputs_now(
        self,
        planned: StagePlan,
        place: AppPlace,
        then: Mapping[Path, str | None],
        results: Mapping[str, Json],
    ) -> Json:
        return await _inputs_now(self._with_outputs(planned, place, results), planned, then)

    def _work(
        self, planned: StagePlan, place: AppPlace, context: StepContext, log: StepLog, out: Path
    ) -> Work:
        return Work(
            place=place,
            context=context,
            inputs={
                earlier: self.outputs.path(context.results[f"{planned.app}:{earlier}"])
                for earlier in place.app.stages
                if f"{planned.app}:{earlier}" in context.results
            },
            out=out,
            helm=self.helms.helm,
            fetch=self.fetch,
            target=self.target,
            env=self._environment(planned, place, context),
            log=log.write,
            flush=log.flush,
            time_limit=planned.time_limit,
        )

    # A disk that is full

    def _in_words(self, error: Exception, app: str, stage: Stage) -> Exception:
        """What only the system said, with its path. Once the state folder takes nothing more, nothing is started."""
        if not isinstance(error, OSError) or isinstance(error, SbkubeError):
            return error
        if is_disk_full(error):
            self.control.drain("disk")
        elif error.filename is not None or stage == "deploy":
            return error
        return OutputUnwritable(self.outputs.folder / app / stage, error)

    def _log_unwritable(self, context: StepContext, path: Path, error: OSError) -> None:
        told = f"the log of {context.id} is incomplete: cannot write `{path}`: {error.strerror or error}"
        self.incomplete_logs.append(told)
        context.metadata["log"] = told
        context.log(told)
        if is_disk_full(error):
            self.control.drain("disk")

    def log_path(self, app: str, stage: str, run: int, attempt: int) -> Path:
        return log_path(self.state, app, stage, run, attempt)

    def _environment(self, planned: StagePlan, place: AppPlace, context: StepContext) -> dict[str, str]:
        settings = self.project.settings
        env = {
            **self.environ,
            "SBKUBE_RUN": str(context.run),
            "SBKUBE_STEP": planned.id,
            **Attempt(context.key, context.attempt).marks,
            "SBKUBE_TARGET": self.target.kind,
            "SBKUBE_VERSION": __version__,
            "SBKUBE_APP_NAME": planned.app,
            "SBKUBE_APP_TYPE": place.app.type,
            "SBKUBE_APP_NAMESPACE": place.namespace,
            "SBKUBE_NAMESPACE": place.namespace,
        }
        if settings.kubeconfig:
            env["KUBECONFIG"] = str(self.project.folder / Path(settings.kubeconfig).expanduser())
        if self.is_offline:
            env[OFFLINE] = "1"
        env |= self.target.environment
        context_name = place.app.context or settings.kubeconfig_context
        if context_name:
            env |= {"KUBE_CONTEXT": context_name, "HELM_KUBECONTEXT": context_name}
        return env


def open_fetching(project: Project, environ: Mapping[str, str], *, is_offline: bool) -> Fetching:
    """Also offline where the environment says so."""
    offline = is_offline or offline_by(environ)
    return Fetching(_with_proxies(environ, project.settings), is_offline=offline)


def _with_proxies(environ: Mapping[str, str], settings: Settings) -> Mapping[str, str]:
    """Those of the project where the environment names none."""
    no_proxy = ",".join(settings.no_proxy)
    own = {"http_proxy": settings.http_proxy, "https_proxy": settings.https_proxy, "no_proxy": no_proxy}
    named = {name.lower() for name in environ}
    return {**environ, **{name: value for name, value in own.items() if value and name not in named}}


def log_path(state: Path, app: str, stage: str, run: int, attempt: int) -> Path:
    return state / "runs" / f"{run:06}" / "logs" / f"{quote(app, safe='')}.{stage}.{attempt}.log"


def open_workshop(
    project: Project,
    environ: Mapping[str, str],
    wishes: TargetWishes,
    *,
    state_dir: str | None = None,
    helm: str | Helm | None = None,
    is_offline: bool = False,
) -> Workshop:
    """By what flags say and, where they do not, the environment and the project. Starts and touches nothing yet."""
    state = state_folder(project.folder, state_dir, environ)
    helms = Helms(helm or environ.get("SBKUBE_HELM") or None, environ)
    target = choose_target(project, wishes, state, helms)
    return Workshop(project, state, target, environ, helms, is_offline or offline_by(environ))


def limits_of(project: Project, max_parallel: int | None) -> Limits:
    asked = max_parallel or project.limits.max_parallel or _workers(project)
    pools = project.limits.pools
    cores = os.cpu_count() or 1
    sizes = {"work": pools.work or WORK, "render": pools.render or cores, "deploy": pools.deploy or DEPLOY}
    if asked is None:
        return Limits(total=None, pools=sizes)
    return Limits(total=asked, pools={**sizes, "work": asked})


def _workers(project: Project) -> int | None:
    settings = project.settings
    return settings.max_workers if settings.parallel and settings.parallel_apps else 1


async def _inputs_now(place: AppPlace, stage: StagePlan, then: Mapping[Path, str | None]) -> Json:
    """What could only be read now; raises `InputsChanged` for what is not as it was planned."""
    assert stage.stage is not None
    planned = {f.component: then.get(f.path) if f.path is not None else None for f in stage.files}
    now = await run_sync(_digests_now, place, stage.stage, abandon_on_cancel=True)  # it only reads
    late = {name: digest for name, digest in now.items() if name in stage.late or planned.get(name) is None}
    changed = [name for name, digest in planned.items() if name not in late and now.get(name) != digest]
    if changed:
        raise InputsChanged(changed)
    return {name: digest for name, digest in late.items() if digest is not None} or None


def _digests_now(place: AppPlace, stage: Stage) -> dict[str, str | None]:
    return {
        file.component: digest_or_explain(file) if file.path else None
        for file in place.app.reads(stage, place).files
    }


def _has_path(output: Json) -> bool:
    return isinstance(output, dict) and isinstance(output.get("path"), str)
