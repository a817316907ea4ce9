"""What a registry says that a chart consists of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sbkube.fetch.oci_errors import NotAChart, WrongPin
from sbkube.fetch.oci_references import Reference, tag_of
from sbkube.fetch.versions import parse_constraint, parse_version

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_OLD_LAYER = "application/tar+gzip"
_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
_LISTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
# Images are asked for too: else a registry answers that there is nothing, and nobody learns that it is an image.
ACCEPTED = {"Accept": ", ".join((MANIFEST, _IMAGE, *_LISTS))}

_VERSION = "org.opencontainers.image.version"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """`digest` is its own, `layer` that of the archive, which has `size` bytes."""

    digest: str
    layer: str
    size: int
    version: str | None
    """As who pushed it noted it."""

    def check_version(self, reference: Reference, wanted: str | None) -> None:
        """A version beside a digest says what one believes to have pinned; the digest is what is taken."""
        if wanted is None or self.version is None or tag_of(self.version) == tag_of(wanted):
            return
        version = parse_version(self.version)
        if parse_version(wanted) is None and version is not None and parse_constraint(wanted).admits(version):
            return
        raise WrongPin(str(reference), f"version {self.version}", wanted)


def read_manifest(body: bytes, reference: str) -> Manifest:
    """Raises `NotAChart`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAChart(reference, "its manifest is no JSON") from error
    if not isinstance(found, dict):
        raise NotAChart(reference, "its manifest is no JSON object")
    if found.get("mediaType") in _LISTS or "manifests" in found:
        raise NotAChart(reference, "it is a list of images for several platforms")
    _check_config(found, reference)
    layer = _layer(found, reference)
    annotations = found.get("annotations")
    version = annotations.get(_VERSION) if isinstance(annotations, dict) else None
    size = layer.get("size")
    return Manifest(
        f"sha256:{hashlib.sha256(body).hexdigest()}",
        layer["digest"],
        size if isinstance(size, int) else 0,
        version if isinstance(version, str) else None,
    )


def _check_config(found: Mapping[str, Any], reference: str) -> None:
    config = found.get("config")
    kind = config.get("mediaType") if isinstance(config, dict) else None
    if kind == CONFIG:
        return
    if kind in _IMAGE_CONFIGS:
        raise NotAChart(reference, "it is a container image")
    raise NotAChart(reference, f"its configuration has the media type {str(kind)!r}")


def _layer(found: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    layers = found.get("layers")
    charts = [
        layer
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict) and layer.get("mediaType") in (LAYER, _OLD_LAYER)
    ]
    if len(charts) != 1:
        raise NotAChart(reference, f"it has {len(charts) or 'no'} layers with a chart, not one")
    if not _DIGEST.fullmatch(str(charts[0].get("digest"))):
        raise NotAChart(
            reference, f"its layer has the digest {str(charts[0].get('digest'))!r}, not a SHA-256"
        )
    return charts[0]
