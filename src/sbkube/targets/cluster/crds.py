"""Custom resource definitions as a release of their own, so that changes arrive and nothing is deleted unasked.

Helm installs a chart's `crds/` once and never again; as templates of the app's own release they would go with it, and
all resources of their kinds. So each is kept by annotation, which is put into its text: through a parser and back large
numbers would change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from sbkube.helm.names import crd_release
from sbkube.targets.base import Deployment, DeployOptions, Manifests

from .namespaces import brings_its_namespace
from .objects import ClusterObject, objects_of
from .wrapping import LARGEST_SECRET, stored_size, unchecked

KEEP = "helm.sh/resource-policy: keep"
_KEEP_KEY, _, _KEEP_VALUE = KEEP.partition(": ")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def releases_before(deployment: Deployment) -> list[Deployment]:
    """Helm itself installs the definitions of a chart once, unless they are to be brought up to date too."""
    return [] if deployment.options.crds == "install" else crd_releases(deployment)


def crd_releases(deployment: Deployment) -> list[Deployment]:
    """What is deployed before an app: `<release>-crds`, and more where they do not fit into one."""
    crds = [replace(crd, text=kept(crd.text)) for crd in objects_of(deployment.manifests.crds)]
    # By name, so that another order in a new version of the bundle moves nothing.
    parts = list(_parts(sorted(crds, key=lambda crd: crd.id.name)))
    return [_release(deployment, part, number) for number, part in enumerate(parts, 1)]


def _release(deployment: Deployment, crds: Sequence[ClusterObject], number: int) -> Deployment:
    return replace(
        deployment,
        release=crd_release(deployment.release, number),
        manifests=Manifests(manifests="".join(f"---\n{crd.text}" for crd in crds)),
        chart=None,
        chart_name=None,
        values={},
        notes="",
        options=DeployOptions(
            timeout=deployment.options.timeout,
            create_namespace=deployment.options.create_namespace or brings_its_namespace(deployment),
            adopt=True,
            max_history=deployment.options.max_history,
            prune=deployment.options.prune,
        ),
    )


def _parts(crds: Iterable[ClusterObject]) -> Iterator[list[ClusterObject]]:
    part: list[ClusterObject] = []
    for crd in crds:
        if part and stored_size(unchecked("crds", [*part, crd])) > LARGEST_SECRET:
            yield part
            part = []
        part.append(crd)
    if part:
        yield part


def kept(text: str) -> str:
    """With the annotation by which Helm leaves it in the cluster; everything else stays as it is, to the byte."""
    root = yaml.compose(text, Loader=_Loader)
    metadata = _value(root, "metadata")
    annotations = _value(metadata, "annotations")
    if isinstance(annotations, yaml.MappingNode):
        if _value(annotations, _KEEP_KEY) is not None:
            return text
        return _with_first_key(text, annotations, KEEP, f'"{_KEEP_KEY}": "{_KEEP_VALUE}"')
    if annotations is not None:  # `annotations:` with nothing behind it
        at = annotations.start_mark.index
        return f"{text[:at]} {{{KEEP}}}{text[annotations.end_mark.index :]}"
    indent = " " * (metadata.start_mark.column + 2)
    block = f"annotations:\n{indent}{KEEP}"
    return _with_first_key(text, metadata, block, f'"annotations": {{"{_KEEP_KEY}": "{_KEEP_VALUE}"}}')


def _with_first_key(text: str, mapping: Any, block: str, flow: str) -> str:
    at = mapping.start_mark.index
    if mapping.flow_style:
        more = ", " if mapping.value else ""
        return f"{text[: at + 1]}{flow}{more}{text[at + 1 :]}"
    indent = " " * mapping.start_mark.column
    return f"{text[:at]}{block}\n{indent}{text[at:]}"


def _value(mapping: Any, key: str) -> Any:
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)
