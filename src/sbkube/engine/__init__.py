"""An async step engine whose state survives the process.

    async with FileStore.open(".state") as store:
        state = await run_graph(StepGraph([Step("a", a), Step("b", b, needs=["a"])]), store=store, resume="unfinished")

Runs on asyncio and trio. Durations are float seconds; what steps return, their inputs and metadata are JSON.
"""

from .errors import CyclicGraph as CyclicGraph
from .errors import DuplicateStep as DuplicateStep
from .errors import EngineError as EngineError
from .errors import Fenced as Fenced
from .errors import IllegalMove as IllegalMove
from .errors import InputsChanged as InputsChanged
from .errors import InputsNotJson as InputsNotJson
from .errors import NeedsNotMet as NeedsNotMet
from .errors import NoExecution as NoExecution
from .errors import NothingToResume as NothingToResume
from .errors import ResultNotJson as ResultNotJson
from .errors import RunLocked as RunLocked
from .errors import StateCorrupt as StateCorrupt
from .errors import StateNotSaved as StateNotSaved
from .errors import StateNotWritable as StateNotWritable
from .errors import StateTooNew as StateTooNew
from .errors import StepAlreadyCompleted as StepAlreadyCompleted
from .errors import StepsFailed as StepsFailed
from .errors import StoreError as StoreError
from .errors import TimeLimitExceeded as TimeLimitExceeded
from .errors import Transient as Transient
from .errors import UnknownPool as UnknownPool
from .errors import UnknownStep as UnknownStep
from .errors import UnusableStepId as UnusableStepId
from .events import Event as Event
from .events import RunDraining as RunDraining
from .events import RunFinished as RunFinished
from .events import RunStarted as RunStarted
from .events import RunStopping as RunStopping
from .events import StepBlocked as StepBlocked
from .events import StepFinished as StepFinished
from .events import StepLogged as StepLogged
from .events import StepRetrying as StepRetrying
from .events import StepStarted as StepStarted
from .graph import StepGraph as StepGraph
from .opening import consider as consider
from .resume import Decision as Decision
from .resume import Selection as Selection
from .retry import Retry as Retry
from .retry import only_transient as only_transient
from .runner import RunControl as RunControl
from .runner import run_graph as run_graph
from .scheduler import FailurePolicy as FailurePolicy
from .scheduler import Limits as Limits
from .state import ExecutionState as ExecutionState
from .state import RunStatus as RunStatus
from .state import StepExecution as StepExecution
from .state import StepStatus as StepStatus
from .step import Step as Step
from .step import StepContext as StepContext
from .stores.files import FileStore as FileStore
from .stores.memory import MemoryStore as MemoryStore
from .tracker import ExecutionTracker as ExecutionTracker
from .tracker import TrackedStep as TrackedStep
from .tracker import load_execution_history as load_execution_history
