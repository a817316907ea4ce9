"""A cluster that cannot be reached when a command starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sbkube import api
from sbkube.helm.releases import ClusterUnreachable

from .deployed import Deployed
from .project import ProjectFolder


@pytest.mark.parametrize(
    "command",
    [
        Deployed.run,
        lambda deployed: deployed.change(api.delete, skip_not_found=True),
        lambda deployed: deployed.change(api.prune),
    ],
    ids=["run", "delete", "prune"],
)
def test_it_leaves_nothing_behind_in_a_project_that_never_ran(
    project: ProjectFolder, command: Callable[[Deployed], Any]
) -> None:
    deployed = Deployed(project)
    before = sorted(path.name for path in project.root.iterdir())
    deployed.cluster.is_reachable = False
    with pytest.raises(ClusterUnreachable, match="of context 'fake' cannot be reached"):
        command(deployed)
    assert sorted(path.name for path in project.root.iterdir()) == before
    deployed.cluster.is_reachable = True
    assert deployed.run()
