"""What stands before a cluster's own kubeconfig: the context that is meant, or a namespace for what names none."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sbkube.helm.releases import Cluster
from sbkube.targets.cluster.kubeconfig import DEFAULTING, pinning, with_default_namespace

ONE = {
    "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "old"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
}
TWO = {"contexts": [{"name": "two", "context": {"cluster": "d", "user": "v"}}], "current-context": "two"}


def cluster(folder: Path, context: str) -> Cluster:
    paths = []
    for name, content in (("one", ONE), ("two", TWO)):
        (folder / name).write_text(json.dumps(content))
        paths.append(str(folder / name))
    return Cluster(os.pathsep.join([*paths, str(folder / "none")]), context)


def test_a_current_context_is_pinned_only_where_it_is_another(tmp_path: Path) -> None:
    assert pinning(cluster(tmp_path, "two")) is None
    pinned = json.loads(pinning(cluster(tmp_path, "one")) or "")
    assert pinned == {"apiVersion": "v1", "kind": "Config", "current-context": "one"}


def test_the_context_with_another_default_namespace_names_server_and_user_and_holds_no_secret(
    tmp_path: Path,
) -> None:
    text = with_default_namespace(cluster(tmp_path, "one"), "shop")
    context = {"cluster": "c", "user": "u", "namespace": "shop"}
    assert json.loads(text)["contexts"] == [{"name": DEFAULTING, "context": context}]
    assert "secret" not in text
