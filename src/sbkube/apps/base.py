"""What every app has, whatever its `type:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from sbkube.apps.checks import Refusal
from sbkube.apps.fields import STAGES, Count, Duration, Model, NotEmpty, Path, Spellings, Stage, TimeLimit
from sbkube.apps.hooks import AppHooks
from sbkube.apps.work import Asking, Json, Place, Reading, Work
from sbkube.errors import NotYet
from sbkube.fetch.lockfile import Pin
from sbkube.targets.base import Target

__all__ = ["STAGES", "App", "Dependency", "RetryRule", "Stage"]

OnInterrupt = Literal["rerun", "verify", "ask"]


class Dependency(Model):
    """`stage` is the stage of the other app that is waited for; none is its last."""

    app: NotEmpty
    stage: Stage | None = None
    optional: bool = False


def _dependency(value: object) -> object:
    return value if isinstance(value, Mapping | Dependency | list) else {"app": value}


class RetryRule(Model):
    """How often and after which pauses a step is tried again."""

    retries: Count = 2
    base: Duration = 1.0
    factor: Annotated[float, Field(ge=1)] = 2.0
    cap: Duration = 60.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.3


class App(Model):
    """`namespace` is None until the file's is filled in; "" means: as the manifest says."""

    stages: ClassVar[tuple[Stage, ...]] = ()
    is_deployed: ClassVar[bool] = False
    """Its objects go to the target, which may prune them when the app is gone."""
    unless_said: ClassVar[OnInterrupt] = "rerun"
    runs_commands: ClassVar[bool] = False
    """Its deploy is commands: it draws from the pool of work, and who asks for retries means their failures."""
    needs_cluster: ClassVar[bool] = False
    """What it does cannot be done to a folder."""
    ends_in_time: ClassVar[bool] = False
    """It stops at its time limit by itself, since it can say what took so long."""

    type: str
    depends_on: tuple[
        Annotated[Dependency, BeforeValidator(_dependency, json_schema_input_type=NotEmpty | Dependency)], ...
    ] = ()
    enabled: bool = True
    notes: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    namespace: str | None = None
    context: str | None = None
    retry: RetryRule | None = None
    time_limit: TimeLimit | None = None
    on_interrupt: OnInterrupt | None = None
    hooks: AppHooks | None = None

    @classmethod
    def modernised(cls, data: dict[str, Any], spellings: Spellings) -> dict[str, Any]:
        """Besides single fields: `specs`, which once held all that is not common to all types."""
        specs = data.get("specs")
        if isinstance(specs, Mapping) and not specs.keys() & data.keys():
            del data["specs"]
            spellings.hint(("specs",), "the fields under `specs` stand directly in the app now")
            for key, value in specs.items():
                data[key] = value
                spellings.renamed[(key,)] = ("specs", key)
        if "description" in data and "description" not in cls.model_fields and "notes" not in data:
            data["notes"] = data.pop("description")
            spellings.rename(("description",), ("notes",))
        return super().modernised(data, spellings)

    def time_limit_of(self, stage: Stage) -> float | None:
        limit = self.time_limit
        return limit.get(stage) if isinstance(limit, dict) else limit

    def after_interruption(self, stage: Stage) -> OnInterrupt:
        """The other stages write to a fresh folder, so nothing of theirs can be in doubt."""
        return (self.on_interrupt or self.unless_said) if stage == "deploy" else "rerun"

    def unpinned(self, folder: FilePath) -> Iterator[tuple[Path, str]]:
        """What is fetched and may be something else the next time, each with the field that leads to it."""
        return iter(())

    def reads(self, stage: Stage, place: Place) -> Reading:
        """What the stage depends on; looks only where files are, never into them."""
        raise NotYet(f"an app of type {self.type} ({place.name!r})", where=place.where("type"))

    async def resolve(self, asking: Asking) -> Pin:
        """What others answer now to what `reads` says that it asks of them. Raises `SbkubeError`."""
        raise NotImplementedError(f"an app of type {self.type} asks nobody")

    def is_made_for(self, stage: Stage, output: FilePath, target: Target) -> bool:
        """Whether an output is what the stage would make for a target as it is now; blocking."""
        return True

    def check(self, place: Place) -> Iterator[Refusal]:
        """What its stages would refuse of the files that are there now. Blocking, and leaves nothing behind."""
        return iter(())

    async def perform(self, stage: Stage, work: Work) -> Json:
        """Does the stage; what is left in `work.out`, or else what this returns, is its output."""
        raise NotYet(f"an app of type {self.type} ({work.place.name!r})", where=work.place.where("type"))
