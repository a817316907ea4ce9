"""What Helm says, and which of our errors that is. Helm has no codes for it, so its words are all there is."""

from __future__ import annotations

import re

from sbkube.helm.base import HelmError, RenderError, ValuesError
from sbkube.helm.releases import (
    ApplyConflict,
    ClusterUnreachable,
    Forbidden,
    NotReady,
    OwnedByOther,
    ReleaseError,
    ReleaseLocked,
)

_LOCKED = (
    "another operation (install/upgrade/rollback) is in progress",
    "cannot reuse a name that is still in use",
)
_UNREACHABLE = (
    "cluster unreachable",
    "connection refused",
    "connection reset",
    "no such host",
    "network is unreachable",
    "i/o timeout",
    "TLS handshake",
    "unexpected EOF",
    "http2: client connection lost",
    "Too Many Requests",
    "the server is currently unable to handle the request",
    "apiserver is shutting down",
    "etcdserver:",
    "You must be logged in",
    "Unauthorized",
    "does not exist",
)
_NOT_READY = (
    "context deadline exceeded",
    "timed out waiting",
    "not ready",
    "hooks failed",
    "BackoffLimitExceeded",
    "progress deadline",
    "Job failed",
    "job failed",
    "failed pre-",
    "failed post-",
)
_OWNERSHIP = re.compile(r"invalid ownership metadata")
_OWNER = re.compile(r'"meta\.helm\.sh/release-name" must equal "[^"]*": current value is "([^"]*)"')
_RENDERING = (
    "template: ",
    "parse error at ",
    "execution error at ",
    "YAML parse error on ",
    "error calling ",
)
_SCHEMA = ("values don't meet the specifications",)


def refusal(text: str, release: str, namespace: str) -> HelmError:
    """The error for what Helm said when it was to do something with a release."""
    text = text.strip()
    if "error calling lookup" in text and "forbidden" in text:
        return Forbidden(release, namespace, text)
    if any(words in text for words in _RENDERING):
        return RenderError(text)
    if any(words in text for words in _SCHEMA):
        return ValuesError(text)
    if _OWNERSHIP.search(text):
        owner = _OWNER.search(text)
        return OwnedByOther(release, namespace, text, owner[1] if owner else None)
    for kind, signs in _BY_WORDS:
        if any(words in text for words in signs):
            return ClusterUnreachable(text) if kind is None else kind(release, namespace, text)
    return ReleaseError(release, namespace, text)


_BY_WORDS: tuple[tuple[type[ReleaseError] | None, tuple[str, ...]], ...] = (
    (ReleaseLocked, _LOCKED),
    (Forbidden, ("is forbidden", "cannot patch resource", "cannot create resource", "cannot get resource")),
    (ApplyConflict, ("Apply failed with", "conflict with")),
    (NotReady, _NOT_READY),
    (None, _UNREACHABLE),
)
