"""A context that leads elsewhere than before: nothing is sent to where it leads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from . import objects
from .client import Cluster
from .commands import CONTEXT
from .control_plane import ControlPlane
from .running import Project

pytestmark = pytest.mark.helms("helm-v4")
Lead = Callable[[ControlPlane], None]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return tmp_path / "kubeconfig"


@pytest.fixture
def lead(kubeconfig: Path) -> Lead:
    """Has the context lead to this one from now on."""

    def copy(plane: ControlPlane) -> None:
        shutil.copy(plane.kubeconfig, kubeconfig)

    return copy


@pytest.fixture
def project(kubeconfig: Path, control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, Cluster(kubeconfig, control_plane.admin.programs))
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n"
            "  web: {type: yaml, manifests: [web.yaml], create_namespace: true}\n"
            "  do: {type: action, actions: [{path: done.yaml}], depends_on: [web]}\n",
            "web.yaml": json.dumps(objects.config_map("web")),
            "done.yaml": json.dumps(objects.config_map("done")),
        }
    )
    return project


def test_another_cluster_of_the_same_context_is_refused_before_anything_is_sent_to_it(
    control_plane: ControlPlane, another_control_plane: ControlPlane, project: Project, lead: Lead
) -> None:
    lead(control_plane)
    project.run()
    remembered = (project.folder / ".sbkube/cluster.json").read_text()
    lead(another_control_plane)
    for words in ([], ["--resume"], ["--force", "--pending", "rollback"]):
        done = project.sbkube("run", "--target", "cluster", *words)
        assert done.code == 2, done.everything
        assert f"error: context {CONTEXT!r} leads to another cluster than before: " in done.said
        assert "hint: check the context; `--accept-target-change` deploys to the new cluster" in done.said
    assert another_control_plane.writes() == []
    assert (project.folder / ".sbkube/cluster.json").read_text() == remembered
    lead(control_plane)
    project.run("--resume")
    lead(another_control_plane)
    project.run("--accept-target-change")
    assert another_control_plane.writes()
    project.run()
    lead(control_plane)
    assert "leads to another cluster than before" in project.sbkube("run", "--target", "cluster").said


def test_a_context_that_is_not_allowed_is_refused_before_anything_is_asked(
    control_plane: ControlPlane, project: Project, lead: Lead
) -> None:
    lead(control_plane)
    project.write({"sources.yaml": "allowed_contexts: [staging]\n"})
    before = len(control_plane.writes())
    done = project.sbkube("run", "--target", "cluster")
    assert done.code == 2
    assert f"context {CONTEXT!r} is not one of `allowed_contexts`: staging" in done.said
    assert len(control_plane.writes()) == before
    project.write({"sources.yaml": f"allowed_contexts: [staging, {CONTEXT}]\n"})
    project.run()
