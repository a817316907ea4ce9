"""What makes one deploy equal to another: chart, values, manifests, and the options that change objects."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sbkube.targets.base import Deployment
from sbkube.targets.trees import digest_tree

LENGTH = 60
"""Characters; a label holds 63, a whole SHA-256 would be 64."""


def digest_of(deployment: Deployment, chart: Path) -> str:
    """Blocking. Two deploys with this digest leave the same objects."""
    rendered = deployment.manifests
    content: dict[str, Any] = {
        "chart": digest_tree(chart),
        "values": deployment.values,
        "crds": rendered.crds,
        "manifests": rendered.manifests,
        "hooks": rendered.hooks,
        "crd_policy": deployment.options.crds,
    }
    if not deployment.options.prune:
        content["prune"] = False  # no object knows of it, but the release's labels do
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:LENGTH]
