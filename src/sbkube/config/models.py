"""The shapes of the files a project consists of; apps are checked one by one, after their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from sbkube.apps.fields import DURATION_SCHEMA, Duration, Model, NotEmpty, Spellings, seconds
from sbkube.apps.hooks import CommandHooks
from sbkube.config.sources import Sources

API_VERSION = "sbkube/v1"
Command = Literal["prepare", "build", "template", "deploy", "apply"]
OnFailure = Literal["stop", "continue", "rollback"]
Positive = Annotated[int, Field(ge=1)]


class Settings(Sources):
    """What holds for all apps of a project."""

    namespace: str | None = None
    parallel: bool = True
    parallel_apps: bool = True
    max_workers: Annotated[int, Field(ge=1)] | None = None
    execution_order: Literal["apps_first", "phases_first"] = "apps_first"
    on_failure: OnFailure | None = None
    rollback_scope: Literal["app", "phase", "all"] | None = None
    timeout: Duration | None = None


class Pools(Model):
    work: Positive | None = None
    render: Positive | None = None
    deploy: Positive | None = None


class Limits(Model):
    """How much runs at once: per pool, or in all."""

    pools: Pools = Pools()
    max_parallel: Positive | None = None


class Directory(Model):
    """A target that is a folder of rendered manifests."""

    directory: NotEmpty


class Phase(Model):
    """A part of a deployment, with apps of its own or in another file."""

    source: str | None = None
    apps: dict[str, Any] = {}
    depends_on: tuple[NotEmpty, ...] = ()
    enabled: bool = True
    description: str | None = None
    on_failure: OnFailure | None = None
    settings: dict[str, Any] = {}
    app_groups: tuple[NotEmpty, ...] = ()
    app_group_deps: dict[str, tuple[NotEmpty, ...]] = {}
    timeout: Duration | None = None
    env: dict[str, str] = {}

    @model_validator(mode="after")
    def _source_or_apps(self) -> Self:
        if bool(self.source) == bool(self.apps):
            raise ValueError("needs either `source` or `apps`")
        return self


_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def _lease_time(value: object) -> float:
    """A Lease counts whole seconds, and within a third of them a renewal has to get through."""
    time = seconds(value)
    if time < 3 or time != int(time):
        raise ValueError(f"must be whole seconds, 3 at least, not {value!r}")
    return time


def _target(value: object) -> object:
    if value == "cluster" or isinstance(value, Mapping | Directory):
        return value
    raise ValueError("must be `cluster` or `{directory: PATH}`")


class ClusterLock(Model):
    """A Lease by a name of the user's, where he wants it."""

    cluster: Annotated[str, StringConstraints(pattern=_NAME)]
    namespace: Annotated[str, StringConstraints(pattern=_NAME)] | None = None
    lease_time: Annotated[float, BeforeValidator(_lease_time), DURATION_SCHEMA] = 30.0


def _lock(value: object) -> object:
    if value in ("cluster", "none") or isinstance(value, Mapping | ClusterLock):
        return value
    raise ValueError("must be `cluster`, `none` or `{cluster: NAME, namespace: NAMESPACE}`")


class ProjectFile(Model):
    """`sbkube.yaml`. Of `config.yaml`, what belongs to settings has been put there before."""

    older: ClassVar = {"global": "settings"}

    apiVersion: Literal["sbkube/v1"] | None = None
    metadata: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    target: Annotated[Literal["cluster"] | Directory, BeforeValidator(_target)] = "cluster"
    lock: Annotated[Literal["cluster", "none"] | ClusterLock, BeforeValidator(_lock)] = "none"
    limits: Limits = Limits()
    defaults: dict[str, Any] = {}
    apps: dict[str, Any] = {}
    app_dirs: tuple[NotEmpty, ...] = ()
    deps: tuple[NotEmpty, ...] = ()
    phases: dict[str, Phase] = {}
    hooks: dict[Command, CommandHooks] = {}

    @classmethod
    def modernised(cls, data: dict[str, Any], spellings: Spellings) -> dict[str, Any]:
        """`workspace.yaml` had a `version`, which says nothing that its keys do not."""
        if "version" in data and "phases" in data:
            del data["version"]
        return super().modernised(data, spellings)


SETTING_KEYS = frozenset(Settings.model_fields) | {
    "repos",
    "helm_sources",
    "oci_repos",
    "clusters",
    "context",
}
