"""What is fetched by a name that may mean something else tomorrow is said, with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sbkube.config.project import Project
from sbkube.config.unpinned import unpinned

Load = Callable[..., Project]


def test_urls_of_actions_and_of_kustomizations_are_told_with_their_lines(load: Load, folder: Path) -> None:
    (folder / "k").mkdir()
    (folder / "k/kustomization.yaml").write_text("resources: [github.com/org/repo?ref=v1]")
    files = {
        "config.yaml": """\
apps:
  a:
    type: action
    actions:
    - path: x.yaml
    - path: https://example.com/x.yaml
    - {type: delete, path: https://example.com/gone.yaml}
  k: {type: kustomize, path: k}
  off: {type: action, enabled: false, actions: [{path: 'https://example.com/off.yaml'}]}
"""
    }
    change = "is not pinned: what it holds may change, and no `--resume` would see that"
    assert unpinned(load(files=files)) == [
        f"{folder}/config.yaml:6: 'https://example.com/x.yaml' of app 'a' {change}",
        f"{folder}/config.yaml:8: 'github.com/org/repo?ref=v1' of app 'k' {change}",
    ]
