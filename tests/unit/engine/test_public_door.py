"""What `import sbkube.engine` gives, and what it leaves alone."""

from __future__ import annotations

import inspect
import subprocess
import sys

import sbkube.engine
from sbkube.engine import EngineError, Event, errors

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


def test_the_door_has_every_name_that_is_promised() -> None:
    assert [name for name in PROMISED if not hasattr(sbkube.engine, name)] == []


def test_the_door_has_every_event() -> None:
    assert [kind for kind in Event.__args__ if getattr(sbkube.engine, kind.__name__, None) is not kind] == []


def test_every_error_is_an_engine_error_that_says_what_it_is() -> None:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]

    assert [
        kind for kind in kinds if not issubclass(kind, EngineError) and kind is not errors.Transient
    ] == []
    assert [kind for kind in kinds if not kind.__doc__] == []


def test_functions_and_classes_at_the_door_say_what_the_signature_cannot() -> None:
    names = [
        "run_graph",
        "ExecutionTracker",
        "Step",
        "StepGraph",
        "StepContext",
        "Limits",
        "Retry",
        "Selection",
    ]
    plain = [
        name for name in names if (inspect.getdoc(getattr(sbkube.engine, name)) or "(").startswith(f"{name}(")
    ]

    assert plain == []
    assert sbkube.engine.__doc__
