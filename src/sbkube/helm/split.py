"""Rendered template files -> documents, in the order in which Helm prints them.

Helm's template engine returns one text per template file. Splitting these, telling hooks from manifests and sorting
by kind is done as Helm 4 does it (its release util package). Imported by the worker: nothing slow in here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

_INSTALL_ORDER = """
    PriorityClass Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy PodDisruptionBudget ServiceAccount
    Secret SecretList ConfigMap StorageClass PersistentVolume PersistentVolumeClaim CustomResourceDefinition
    ClusterRole ClusterRoleList ClusterRoleBinding ClusterRoleBindingList Role RoleList RoleBinding RoleBindingList
    Service DaemonSet Pod ReplicationController ReplicaSet Deployment HorizontalPodAutoscaler StatefulSet Job CronJob
    IngressClass Ingress APIService MutatingWebhookConfiguration ValidatingWebhookConfiguration
"""
_RANK = {kind: rank for rank, kind in enumerate(_INSTALL_ORDER.split())}

HOOK = "helm.sh/hook"
_HOOK_EVENTS = """
    pre-install post-install pre-delete post-delete pre-upgrade post-upgrade pre-rollback post-rollback
    test test-success
"""
_HOOKS = frozenset(_HOOK_EVENTS.split())

NOTES = "NOTES.txt"

# Go's `\s` is ASCII only, and its `^` the beginning of the text. Helm 4 keeps the space after the last document.
_SEPARATOR = re.compile(r"(?:\A|[\t\n\f\r ]*\n)---[\t\n\f\r ]*")
_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


class Document(NamedTuple):
    source: str
    kind: str
    text: str
    is_hook: bool = False

    def __str__(self) -> str:
        return f"---\n# Source: {self.source}\n{self.text}\n"


class Arranged(NamedTuple):
    manifests: list[Document]
    hooks: list[Document]


class NotADocument(Exception):
    """What a template rendered cannot be read as an object."""

    def __init__(self, source: str, reason: object) -> None:
        super().__init__(f"YAML parse error on {source}: {reason}")


HeadOf = Callable[[str], Mapping[str, Any]]
"""Reads one document by Helm's own YAML rules; raises ValueError for what is no mapping."""


def arrange(files: Mapping[str, str], head_of: HeadOf) -> Arranged:
    documents = [
        document for source in sorted(files) for document in _documents(source, files[source], head_of)
    ]
    manifests = (document for document in documents if not document.is_hook)
    hooks = (document for document in documents if document.is_hook)
    return Arranged(by_kind(manifests), by_kind(hooks))


def by_kind(documents: Iterable[Document]) -> list[Document]:
    """Helm's install order; kinds it does not know come last, by name. Stable."""
    return sorted(
        documents, key=lambda document: (_RANK.get(document.kind, len(_RANK)), _unknown(document.kind))
    )


def joined(documents: Iterable[Document]) -> str:
    return "".join(map(str, documents))


def split(text: str) -> list[str]:
    pieces = _SEPARATOR.split(text.lstrip(_GO_SPACE))
    return [piece.lstrip(_GO_SPACE) for piece in pieces if piece.strip(_GO_SPACE)]


def _unknown(kind: str) -> str:
    return "" if kind in _RANK else kind


def _documents(source: str, text: str, head_of: HeadOf) -> Iterable[Document]:
    if source.rpartition("/")[2].startswith("_"):
        return
    for piece in split(text):
        try:
            head = head_of(piece)
            kind, hook = _kind(head), _hook(head)
        except ValueError as error:
            raise NotADocument(source, error) from error
        if hook is None:
            yield Document(source, kind, piece)
        elif all(event.strip().lower() in _HOOKS for event in hook.split(",")):
            yield Document(source, kind, piece, is_hook=True)
        # else a hook that Helm does not know: left out, as Helm does


def _kind(head: Mapping[str, Any]) -> str:
    return _text(head.get("kind"), "kind")


def _hook(head: Mapping[str, Any]) -> str | None:
    metadata = _mapping(head.get("metadata"), "metadata")
    annotations = _mapping(metadata.get("annotations"), "metadata.annotations")
    texts = {key: _text(value, f"metadata.annotations.{key}") for key, value in annotations.items()}
    return texts.get(HOOK)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise ValueError(f"{where} is not a mapping")


def _text(value: Any, where: str) -> str:
    if isinstance(value, (Mapping, list)):
        raise ValueError(f"{where} is not text")  # noqa: TRY004 - a reader's complaint, like all others
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
