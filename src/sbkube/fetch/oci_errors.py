"""Why a chart could not be had from a registry, in words for who wrote its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sbkube.fetch.addresses import redacted
from sbkube.fetch.errors import AccessRefused, FetchError, NotThere
from sbkube.fetch.http_errors import NoTls
from sbkube.fetch.stored_logins import Login

_FEW = 5


class BadReference(FetchError):
    def __init__(self, text: str, why: str) -> None:
        super().__init__(
            f"{redacted(text)!r} {why}", hint="write it like oci://registry.example.com/charts/web"
        )


class WrongPin(FetchError):
    """What is pinned is not what is asked for beside it."""

    def __init__(self, pinned: str, is_: str, wanted: str) -> None:
        super().__init__(
            f"{pinned!r} is {is_}, and {wanted!r} is wanted",
            hint="change the one or the other, or leave it out",
        )


class NoSuchChart(NotThere):
    def __init__(self, repository: str) -> None:
        super().__init__(
            f"there is no chart {repository!r}",
            hint="check its path: the last part is the name of the chart, before it stands where that was pushed to",
        )


class NoSuchVersion(NotThere):
    def __init__(self, repository: str, wanted: str | None, tags: Sequence[str]) -> None:
        """`tags`: the newest first."""
        few = ", ".join(tags[:_FEW]) + (f" and {len(tags) - _FEW} more" if len(tags) > _FEW else "")
        what = "no version" if wanted is None else f"no version {wanted!r}"
        super().__init__(
            f"chart {repository!r} has {what}", hint=f"there are: {few}" if tags else "it has no tags at all"
        )


class NotAChart(FetchError):
    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"{reference!r} is no Helm chart: {why}")


class BadAnswer(FetchError):
    """What came is nothing that the specification of registries knows."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{redacted(url)!r} is not answered as a registry would: {why}")


class RegistryRefused(AccessRefused):
    def __init__(self, repository: str, login: Login | None) -> None:
        """`login`: what was sent."""
        user, told = login and login.username, login is not None
        whom = (
            f"to user {user!r}" if user else "with the credentials it was sent" if told else "to just anyone"
        )
        hint = (
            "check `username` and `password`, and the path: of what does not exist, registries often say the same"
            if told
            else "set `username` and `password` in `oci_registries`, or log in with `docker login`"
            " or `helm registry login`; of what does not exist, registries often say the same"
        )
        super().__init__(f"the registry does not give {repository!r} {whom}", hint=hint)


class InsecureRealm(FetchError):
    def __init__(self, repository: str, realm: str) -> None:
        super().__init__(
            f"the registry of {repository!r} wants logins to be sent to {redacted(realm)!r}, which is not encrypted"
        )


class SpeaksNoTls(FetchError):
    def __init__(self, error: FetchError) -> None:
        super().__init__(
            error.message,
            hint="if it is to be spoken to without TLS, set `plain_http: true` in `oci_registries`",
        )


class SpeaksTls(FetchError):
    def __init__(self, url: str) -> None:
        super().__init__(
            f"{redacted(url)!r} answered 400 Bad Request to plain HTTP",
            hint="if it speaks TLS, remove `plain_http: true`",
        )


@contextmanager
def in_words_of_registries() -> Iterator[None]:
    try:
        yield
    except NoTls as error:
        raise SpeaksNoTls(error) from error
