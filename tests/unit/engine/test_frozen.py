from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from sbkube.engine import Step, StepExecution, StepFinished, StepStatus
from sbkube.engine.events import StepStarted
from sbkube.engine.state import Completion

QUICK = [Completion, StepExecution, StepStarted, StepFinished, Step]


def slow_twin(quick: type) -> type:
    """The same fields in a dataclass that Python made alone."""
    own = {f.name: f.type for f in fields(quick)}
    space = {
        f.name: field(default=f.default, default_factory=f.default_factory, kw_only=f.kw_only)
        for f in fields(quick)
    }
    return dataclass(frozen=True)(type(quick.__name__, (), {"__annotations__": own, **space}))


@pytest.mark.parametrize("quick", QUICK)
def test_it_takes_what_its_slow_twin_takes(quick: type) -> None:
    mine, its = (inspect.signature(cls).parameters.values() for cls in (quick, slow_twin(quick)))
    assert [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in its]
    assert [p.default is p.empty for p in mine] == [p.default is p.empty for p in its]


@pytest.mark.parametrize("quick", QUICK)
def test_each_argument_lands_in_its_own_field(quick: type) -> None:
    values = {f.name: f"value of {f.name}" for f in fields(quick)}
    made = quick(**values)
    assert {f.name: getattr(made, f.name) for f in fields(quick)} == values


def test_defaults_are_the_declared_ones_and_no_two_share_a_mapping() -> None:
    one, other = StepExecution("a"), StepExecution("b")
    assert (one.status, one.attempt, one.metadata) == (StepStatus.PENDING, 0, {})
    assert one.metadata is not other.metadata


def test_a_record_stays_frozen_equal_hashable_and_can_be_copied_and_pickled() -> None:
    done = Completion(1, "p", "f", "d")
    with pytest.raises(FrozenInstanceError):
        done.run = 2  # type: ignore[misc]
    assert {done} == {pickle.loads(pickle.dumps(done))} == {copy.deepcopy(done)}
    assert replace(done, run=2) == Completion(2, "p", "f", "d")


def test_an_argument_too_many_or_too_few_is_refused() -> None:
    with pytest.raises(TypeError, match="digest"):
        Completion(1, "p", "f")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown"):
        StepStarted("a", 1, unknown=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Step("a", None, ["b"])  # type: ignore[misc]
