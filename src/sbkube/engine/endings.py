"""How an attempt ended: what an exception means for its step, and what of it is recorded and told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import anyio

from .errors import ResultNotJson
from .events import StepFinished
from .fingerprints import Json, as_json
from .retry import leaves
from .state import StepExecution, StepStatus

ERROR_LIMIT = 2048
"""Characters of an error that are recorded."""


def describe(error: BaseException) -> tuple[str, str]:
    """An error as it is recorded: its message, at most `ERROR_LIMIT` characters, and its class."""
    first = next(leaves(error))
    others = sum(1 for _ in leaves(error)) - 1
    text = str(first) or type(first).__name__
    end = f" (and {others} more)" if others else ""
    hint = getattr(first, "hint", None)  # the host's errors may carry one as ours do
    if hint and isinstance(hint, str):
        end = (f"\n({hint})" if "\n" in text else f" ({hint})") + end
    most = max(ERROR_LIMIT - len(end), 0)
    text = (text if len(text) <= most else text[: most - 1] + "…") + end
    text = text[:ERROR_LIMIT]
    # A lone surrogate, as in a broken file name, is not UTF-8 and so no JSON.
    return text.encode("utf-8", "backslashreplace").decode(), type(first).__name__


def metadata_or_why(metadata: Mapping[str, Any]) -> Json:
    """Of a step that failed anyway: metadata that is no JSON must not hide the failure."""
    try:
        return as_json(dict(metadata), "metadata")
    except ResultNotJson as error:
        return {"metadata": str(error)}


def ending_of(error: BaseException) -> tuple[StepStatus, BaseException | None]:
    """How a step ended whose body raised this. A cancelled body that also failed has failed."""
    stopped = (anyio.get_cancelled_exc_class(), KeyboardInterrupt, SystemExit)
    failures = [leaf for leaf in leaves(error) if not isinstance(leaf, stopped)]
    if not failures:
        return StepStatus.CANCELLED, None
    return StepStatus.FAILED, failures[0] if len(failures) == 1 else BaseExceptionGroup("failures", failures)


def without_failures(error: BaseException) -> BaseException:
    """Of clean-up that failed under a cancellation only the cancellation goes on."""
    if isinstance(error, BaseExceptionGroup) and isinstance(ending_of(error)[1], Exception):
        return error.subgroup(_is_no_failure) or error
    return error


def _is_no_failure(error: BaseException) -> bool:
    return not isinstance(error, Exception | BaseExceptionGroup)


def is_a_cancellation_of_its_own(error: BaseException) -> bool:
    # asyncio lets a body raise what nobody sent it: the cancellation of a task it waited for. A task group
    # would take that for its own and lose the worker without a word.
    is_cancellation = isinstance(error, anyio.get_cancelled_exc_class())
    return is_cancellation and anyio.current_effective_deadline() != -math.inf


def finished(step: StepExecution) -> StepFinished:
    return StepFinished(
        step.name,
        step.status,
        attempt=step.attempt,
        seconds=step.duration,
        error=step.error,
        error_type=step.error_type,
        reused_from=step.metadata.get("reused_from") if step.metadata else None,
        output=step.output,
        metadata=step.metadata,
    )
