"""Why something could not be fetched, and whether it is worth another try."""

from __future__ import annotations

from typing import Self

from sbkube.errors import Position, SbkubeError


class FetchError(SbkubeError):
    """Of one source. It never holds a credential: who raises it redacts what it quotes."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        where: Position | None = None,
        transient: bool | None = None,
        after: float | None = None,
    ) -> None:
        """`after`: the seconds that the other side asked us to wait before the next try."""
        super().__init__(message, hint=hint, where=where)
        if transient is not None:
            self.transient = transient
        self.after = after

    def copy(self) -> Self:
        """For another who waited for the same: each gets a place of its own."""
        copied = type(self).__new__(type(self), *self.args)
        copied.__dict__.update(self.__dict__)
        return copied


class Unreachable(FetchError):
    """The other side did not answer, or broke off."""

    transient = True


class NotThere(FetchError):
    """The other side answered that there is no such thing."""


class NotKept(FetchError):
    """The network is not to be asked, and the cache does not have it."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not in the cache, and nobody is asked for it offline",
            hint="`sbkube prepare` without `--offline` and SBKUBE_OFFLINE fetches it",
        )


class AccessRefused(FetchError):
    """Without the right credentials it is not given."""


class Mismatch(FetchError):
    """What came is not what was pinned or promised."""
