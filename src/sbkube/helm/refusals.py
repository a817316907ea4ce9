"""What Helm says, and which of our errors that is. Helm has no codes for it, so its words are all there is.

The words are those of Helm 3.22, of Helm 4.2 and of its library; `test_refusals.py` holds them in full. The order matters:
what the API server answered may speak of anything, and what went wrong on the way to it may speak of a deadline.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .base import ChartError, HelmError, RenderError, ValuesError
from .releases import (
    ApplyConflict,
    ClusterUnreachable,
    Forbidden,
    NotAuthenticated,
    NotReady,
    OwnedByOther,
    ReleaseError,
    ReleaseLocked,
    ReleaseMissing,
    WebhookUnreachable,
)


def refusal(text: str, release: str, namespace: str) -> HelmError:
    """The error for what Helm said; an empty release: it was not about one."""
    text = text.strip()
    for words, make in _BY_WORDS:
        if words.search(text):
            return make(text, release, namespace)
    return ReleaseError(release, namespace, text)


Make = Callable[[str, str, str], HelmError]


def _of_a_release(kind: type[ReleaseError]) -> Make:
    return lambda text, release, namespace: kind(release, namespace, text)


def _of_itself(kind: type[HelmError]) -> Make:
    return lambda text, *_: kind(text)


_OWNER = re.compile(r'"meta\.helm\.sh/release-name" must equal "[^"]*": current value is "([^"]*)"')


def _owned(text: str, release: str, namespace: str) -> OwnedByOther:
    owner = _OWNER.search(text)
    return OwnedByOther(release, namespace, text, owner[1] if owner else None)


_BY_WORDS: tuple[tuple[re.Pattern[str], Make], ...] = (
    (
        re.compile("(?i)the server has asked for the client to provide credentials|you must be logged in"),
        _of_itself(NotAuthenticated),
    ),
    (re.compile("(?i)kubernetes cluster unreachable"), _of_itself(ClusterUnreachable)),
    # Quotas, admission and namespaces that go away are `forbidden`, too, but to everybody.
    (
        re.compile(
            r'is forbidden: (User "[^"]*" cannot |user .* is attempting to grant RBAC permissions)', re.DOTALL
        ),
        _of_a_release(Forbidden),
    ),
    (
        # `spec.template: Invalid value` is said of an object, not of a template.
        re.compile(
            r"(?<![.\w])template: |parse error at \(|execution error at \(|YAML parse error on |error calling "
            r'|^\s+executing "',
            re.MULTILINE,
        ),
        _of_itself(RenderError),
    ),
    (re.compile("values don't meet the specifications"), _of_itself(ValuesError)),
    (
        re.compile(
            r"Chart\.yaml file is missing|cannot load (Chart|values)\.yaml|unable to detect chart at |^path .* not found"
            r"|^stat .*: no such file|missing in charts/ directory|chart requires kubeVersion|charts are not installable"
            r"|chart\.metadata|unable to load chart archive|gzip: |does not appear to be a gzipped archive|^unexpected EOF$"
        ),
        _of_itself(ChartError),
    ),
    (re.compile("invalid ownership metadata"), _owned),
    (
        re.compile(
            r"another operation \(install/upgrade/rollback\) is in progress"
            r"|cannot re-?use a name that is still in use|^release: already exists"
        ),
        _of_a_release(ReleaseLocked),
    ),
    (re.compile(r"release: not found|release has no \S+ version"), _of_a_release(ReleaseMissing)),
    (re.compile("Apply failed with"), _of_a_release(ApplyConflict)),
    # The API server answered, whatever befell it on its own way.
    (re.compile("failed calling webhook"), _of_a_release(WebhookUnreachable)),
    (re.compile("admission webhook"), _of_a_release(ReleaseError)),
    (
        re.compile(
            r'(?i)\b(get|post|put|patch|delete) "https?://[^"]*": |could not get apiVersions from Kubernetes'
            r"|\bUnauthorized\b"
            r"|too many requests|the server is currently unable to handle the request|apiserver is shutting down"
            r"|etcdserver: |request did not complete within|unable to return a response in the time allotted"
            r"|connection refused|connection reset|connection lost|i/o timeout|TLS handshake"
            r"|unexpected error when reading response body"
        ),
        _of_itself(ClusterUnreachable),
    ),
    (
        # The watcher's connection ended, not its time: it does not say so, and knows nothing of what it waited for.
        re.compile(r"\A(?!.*context deadline exceeded).*not ready\. status: Unknown, ", re.DOTALL),
        _of_itself(ClusterUnreachable),
    ),
    (
        re.compile(
            r"context deadline exceeded|timed out waiting|not ready\. status|failed (pre|post)-|job \S+ failed"
            r"|BackoffLimitExceeded|progress deadline"
        ),
        _of_a_release(NotReady),
    ),
)
