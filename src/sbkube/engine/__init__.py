"""An async step engine whose state survives the process.

    async with FileStore.open(".state") as store:
        state = await run_graph(StepGraph([Step("a", a), Step("b", b, needs=["a"])]), store=store, resume="unfinished")

Runs on asyncio and trio. Durations are float seconds; what steps return, their inputs and metadata are JSON.
"""

from .errors import (
    CyclicGraph,
    DuplicateStep,
    EngineError,
    Fenced,
    IllegalMove,
    InputsChanged,
    InputsNotJson,
    NeedsNotMet,
    NoExecution,
    NothingToResume,
    ResultNotJson,
    RunLocked,
    StateCorrupt,
    StateNotSaved,
    StateNotWritable,
    StateTooNew,
    StepAlreadyCompleted,
    StepsFailed,
    StoreError,
    TimeLimitExceeded,
    Transient,
    UnknownPool,
    UnknownStep,
    UnusableStepId,
)
from .events import (
    Event,
    RunDraining,
    RunFinished,
    RunStarted,
    RunStopping,
    StepBlocked,
    StepFinished,
    StepLogged,
    StepRetrying,
    StepStarted,
)
from .graph import StepGraph
from .opening import consider
from .resume import Decision, Selection
from .retry import Retry, only_transient
from .runner import RunControl, run_graph
from .scheduler import FailurePolicy, Limits
from .state import ExecutionState, RunStatus, StepExecution, StepStatus
from .step import Step, StepContext
from .stores.files import FileStore
from .stores.memory import MemoryStore
from .tracker import ExecutionTracker, TrackedStep, load_execution_history

__all__ = [
    "CyclicGraph",
    "Decision",
    "DuplicateStep",
    "EngineError",
    "Event",
    "ExecutionState",
    "ExecutionTracker",
    "FailurePolicy",
    "Fenced",
    "FileStore",
    "IllegalMove",
    "InputsChanged",
    "InputsNotJson",
    "Limits",
    "MemoryStore",
    "NeedsNotMet",
    "NoExecution",
    "NothingToResume",
    "ResultNotJson",
    "Retry",
    "RunControl",
    "RunDraining",
    "RunFinished",
    "RunLocked",
    "RunStarted",
    "RunStatus",
    "RunStopping",
    "Selection",
    "StateCorrupt",
    "StateNotSaved",
    "StateNotWritable",
    "StateTooNew",
    "Step",
    "StepAlreadyCompleted",
    "StepBlocked",
    "StepContext",
    "StepExecution",
    "StepFinished",
    "StepGraph",
    "StepLogged",
    "StepRetrying",
    "StepStarted",
    "StepStatus",
    "StepsFailed",
    "StoreError",
    "TimeLimitExceeded",
    "TrackedStep",
    "Transient",
    "UnknownPool",
    "UnknownStep",
    "UnusableStepId",
    "consider",
    "load_execution_history",
    "only_transient",
    "run_graph",
]
