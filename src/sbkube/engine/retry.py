"""When a failed attempt is worth another, and how long to wait before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import Transient


def any_error(error: Exception) -> bool:
    return True


def only_transient(error: Exception) -> bool:
    """For `Retry.when`: nothing but what was raised as `Transient`."""
    return False


def at_once(error: Exception) -> float:
    """For `Retry.pause`: no error asks for more than its turn in the back-off."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which waits, a failed attempt is repeated.

    The wait before attempt n+1 is `min(cap, base * factor ** (n - 1)) * u` seconds, `u` drawn evenly
    from `1 - jitter` to `1 + jitter` (exponential back-off with jitter). `when` says which errors are
    worth it, and `Transient` always is; a group of errors is only if each of its leaves is. Raises ValueError for
    what is no such rule.
    """

    retries: int = 0
    """Attempts after the first."""
    base: float = 1.0
    """Seconds, as `cap`."""
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.3
    when: Callable[[Exception], bool] = any_error
    pause: Callable[[Exception], float] = at_once
    """Seconds that an error asks for at least, whatever the back-off would be."""

    def __post_init__(self) -> None:
        if self.retries < 0 or self.base < 0 or self.cap < 0 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"retries, base and cap are >= 0, factor >= 1, jitter from 0 to 1; got {self!r}")

    def wants(self, failures: int, error: Exception) -> bool:
        """Whether an attempt follows after so many failures, the last of them `error`."""
        return failures <= self.retries and all(self._is_worth_it(leaf) for leaf in leaves(error))

    def delay(self, failures: int, chance: float, error: Exception | None = None) -> float:
        """Seconds to wait after so many failures, the last of them `error`; `chance` is drawn from 0 to 1."""
        asked = () if error is None else (self.pause(e) for e in leaves(error) if isinstance(e, Exception))
        backed_off = self._backed_off(failures) * (1 - self.jitter + 2 * self.jitter * chance)
        return max(backed_off, max(asked, default=0.0) * (1 + self.jitter * chance))

    def _backed_off(self, failures: int) -> float:
        try:
            return min(self.cap, self.base * self.factor ** (failures - 1))
        except OverflowError:
            return self.cap if self.base else 0.0

    def _is_worth_it(self, error: BaseException) -> bool:
        return isinstance(error, Transient) or (isinstance(error, Exception) and self.when(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, however deep; an error of its own gives itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
