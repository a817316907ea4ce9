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


def test_a_chart_whose_version_may_be_another_tomorrow_is_told_with_what_leaves_it_open(
    load: Load, folder: Path
) -> None:
    files = {
        "config.yaml": """\
apps:
  newest: {type: helm, chart: shop/web}
  range:
    type: helm
    chart: shop/web
    version: ^1.2
  exact: {type: helm, chart: shop/web, version: 1.2.3}
  url: {type: helm, chart: 'https://me:canary@example.com/web.tgz?token=canary'}
  versioned: {type: helm, chart: 'https://example.com/web-1.2.3.tgz'}
  newest-of-registry: {type: helm, chart: 'oci://example.com/web'}
  range-of-registry: {type: helm, chart: 'oci://example.com/web', version: 1.x}
  tag: {type: helm, chart: 'oci://example.com/web:1.2.3'}
  tagged: {type: helm, chart: 'oci://example.com/web', version: 1.2.3+b1}
  half: {type: helm, chart: 'oci://example.com/web:1.2'}
  digest: {type: helm, chart: 'oci://example.com/web@sha256:%s'}
"""
        % ("0a" * 32)
    }
    told = [note.partition(" is not pinned")[0] for note in unpinned(load(files=files))]
    assert told == [
        f"{folder}/config.yaml:2: 'shop/web' of app 'newest'",
        f"{folder}/config.yaml:6: 'shop/web ^1.2' of app 'range'",
        f"{folder}/config.yaml:8: 'https://example.com/web.tgz?…' of app 'url'",
        f"{folder}/config.yaml:10: 'oci://example.com/web' of app 'newest-of-registry'",
        f"{folder}/config.yaml:11: 'oci://example.com/web 1.x' of app 'range-of-registry'",
        f"{folder}/config.yaml:14: 'oci://example.com/web:1.2' of app 'half'",
    ]
