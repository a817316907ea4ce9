"""What a step's own code answers: within its time limit, and whatever it raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import anyio

from .endings import is_a_cancellation_of_its_own, without_failures
from .errors import ResultNotJson, TimeLimitExceeded
from .fingerprints import Json, as_json, digest
from .step import Step, StepContext

T = TypeVar("T")


async def in_time(step: Step, ask: Callable[[], Awaitable[T]], what: str = "it") -> T:
    """Raises `TimeLimitExceeded`."""
    if step.time_limit is None:
        return await ask()
    with anyio.move_on_after(step.time_limit):
        return await ask()
    raise TimeLimitExceeded(step.time_limit, what)


async def result_of(step: Step, context: StepContext) -> object:
    if step.body is None:
        return None
    result = await in_time(step, partial(step.body, context))
    return context.result if result is None else result


async def late_inputs_of(step: Step, results: Mapping[str, Json]) -> tuple[str | None, BaseException | None]:
    """Their digest, or what they raised: that fails the step, once it is in progress."""
    if step.late_inputs is None:
        return None, None
    value, error = await _answer_of(step, partial(step.late_inputs, results), "reading its inputs")
    try:
        recorded = as_json(value, "late inputs")
    except ResultNotJson as refused:
        return None, refused
    return (None if recorded is None else digest(recorded)), error


async def is_completed_after_all(step: Step, context: StepContext) -> tuple[bool, BaseException | None]:
    """What `verify` says, or what it raised; what it found must be fit to be recorded."""

    async def verify() -> bool:
        assert step.verify is not None
        if not await step.verify(context):
            return False
        as_json(context.result)
        as_json(dict(context.metadata), "metadata")
        return True

    is_completed, error = await _answer_of(step, verify, "verifying it")
    return bool(is_completed), error


async def _answer_of(
    step: Step, ask: Callable[[], Awaitable[T]], what: str
) -> tuple[T | None, BaseException | None]:
    """What it says beside its body, or what it raised; a cancellation from outside goes on."""
    try:
        return await in_time(step, ask, what), None
    except Exception as error:  # noqa: BLE001 - it is the step's, whatever it is
        return None, error
    except BaseException as error:  # noqa: BLE001 - as above, or it goes on
        if is_a_cancellation_of_its_own(error):
            return None, error
        raise without_failures(error) from None
