"""How long the name of a release may be, and what stands for one that is longer."""

from __future__ import annotations

import hashlib
import re

LONGEST_RELEASE = 53
_DIGEST = 8


def fitting(name: str, suffix: str = "") -> str:
    """As it is where Helm takes it, else its beginning and what tells it from others that begin so."""
    room = LONGEST_RELEASE - len(suffix)
    if len(name) <= room:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: room - _DIGEST - 1].rstrip('-.')}-{digest}{suffix}"


def crd_release(release: str, number: int) -> str:
    """What holds the custom resource definitions of a release, or a further part of them."""
    return fitting(release, "-crds" if number == 1 else f"-crds-{number}")


def is_crd_release(name: str, release: str) -> bool:
    found = re.search(r"-crds(?:-(\d+))?$", name)
    return found is not None and crd_release(release, int(found[1] or 1)) == name
