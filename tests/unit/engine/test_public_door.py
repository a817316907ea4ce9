"""What `import sbkube.engine` gives, and what it leaves alone."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sbkube.api
import sbkube.engine
from sbkube.engine import (
    EngineError,
    Event,
    ExecutionTracker,
    FileStore,
    StepGraph,
    consider,
    errors,
    run_graph,
)

ROOT = Path(__file__).parents[3]

PROMISED = [
    "Step",
    "StepGraph",
    "StepContext",
    "Limits",
    "Retry",
    "FailurePolicy",
    "RunControl",
    "run_graph",
    "ExecutionTracker",
    "ExecutionState",
    "StepExecution",
    "StepStatus",
    "FileStore",
    "MemoryStore",
    "load_execution_history",
    "Selection",
    "Transient",
]
FOREIGN = [
    "helm_python",
    "rich",
    "asyncclick",
    "click",
    "yaml",
    "aiofiles",
    "pydantic",
    "sbkube.errors",
    "sbkube.documents",
    "sbkube.process",
    "sbkube.helm",
    "sbkube.targets",
    "sbkube.apps",
    "sbkube.config",
    "sbkube.planning",
    "sbkube.wiring",
    "sbkube.api",
    "sbkube.cli",
]


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded at the end of a program."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ran.stdout.split())


def test_importing_the_engine_loads_nothing_that_stands_above_it() -> None:
    assert loaded_by("import sbkube.engine").isdisjoint(FOREIGN)


def test_running_steps_with_durable_state_still_loads_nothing_of_it() -> None:
    program = """
import anyio, tempfile
from sbkube.engine import FileStore, Step, StepGraph, run_graph
async def body(step): return 1
async def main(folder):
    async with FileStore.open(folder) as store:
        state = await run_graph(StepGraph([Step("a", body)]), store=store, resume="unfinished")
        state.raise_for_failures()
with tempfile.TemporaryDirectory() as folder:
    anyio.run(main, folder)
"""
    assert loaded_by(program).isdisjoint(FOREIGN)


def test_the_engine_loads_no_event_loop_but_the_one_that_runs() -> None:
    assert "trio" not in loaded_by("import sbkube.engine")


DOORS = [sbkube.engine, sbkube.api]
each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: str(door.__name__))


def public_names(door: ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(door).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }


def test_the_door_has_every_name_that_is_promised() -> None:
    assert [name for name in PROMISED if name not in sbkube.engine.__all__] == []


def test_the_door_of_the_engine_has_nothing_but_what_it_names() -> None:
    assert public_names(sbkube.engine) == set(sbkube.engine.__all__)


def test_the_door_of_the_project_names_whatever_is_made_there() -> None:
    made = {
        name
        for name in public_names(sbkube.api)
        if getattr(vars(sbkube.api)[name], "__module__", "") == "sbkube.api"
    }

    assert made - set(sbkube.api.__all__) == set()


def test_the_door_has_every_event_and_every_error() -> None:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]

    assert [kind for kind in (*Event.__args__, *kinds) if kind.__name__ not in sbkube.engine.__all__] == []


def test_every_error_is_an_engine_error() -> None:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]

    assert [kind for kind in kinds if not issubclass(kind, EngineError)] == [errors.Transient]


@each_door
def test_every_class_and_function_at_the_door_says_what_the_signature_cannot(door: ModuleType) -> None:
    found = {name: getattr(door, name) for name in door.__all__}
    # A dataclass without words of its own gets its signature for a docstring.
    silent = [
        name
        for name, value in found.items()
        if callable(value)
        and ((vars(value).get("__doc__") or value.__doc__ or f"{name}(").startswith(f"{name}("))
    ]

    assert silent == []
    assert door.__doc__


def written(*patterns: str) -> str:
    return "\n".join(path.read_text() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


@each_door
def test_what_the_pages_and_examples_take_from_a_door_is_there(door: ModuleType) -> None:
    text = written("README.md", "docs/*.md", "examples/**/*.py", "benchmarks/*.py")
    name = re.escape(door.__name__)
    taken = re.findall(rf"from {name} import \(?([^)\n]*|[^)]*\))", text)
    taken += re.findall(rf"`{name}`: (`\w+`(?:, `\w+`)*)", text)
    named = set(re.findall(r"\w+", " ".join(taken)))

    assert named
    assert named - set(door.__all__) == set()


def test_the_methods_that_an_embedder_calls_say_what_they_raise() -> None:
    said = {
        run_graph: "UnknownStep, InputsNotJson, NeedsNotMet, NothingToResume, UnknownPool, StateNotSaved, Fenced",
        ExecutionTracker.start_execution: "UnknownStep, InputsNotJson, NeedsNotMet, NothingToResume",
        ExecutionTracker.track_step: "NoExecution, UnknownStep, IllegalMove, StepAlreadyCompleted, ResultNotJson",
        consider: "UnknownStep, InputsNotJson, NeedsNotMet, NothingToResume, TimeLimitExceeded",
        StepGraph: "DuplicateStep, UnusableStepId, UnknownStep, CyclicGraph",
        FileStore.open: "RunLocked, StateNotWritable",
    }

    for what, names in said.items():
        assert [n for n in names.split(", ") if f"`{n}`" not in (inspect.getdoc(what) or "")] == [], what
