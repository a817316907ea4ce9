"""What loads and is not done yet is refused by name, with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.config.loading import refuse_not_yet
from sbkube.config.problems import InvalidConfig
from sbkube.config.project import Project
from sbkube.errors import NotYet

Load = Callable[..., Project]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("apps:\n  a: {type: hook, tasks: []}", 2, "an app of type hook ('a')"),
        ("apps:\n  a:\n    type: noop\n    hooks: {}", 4, "a hook of an app ('a')"),
        ("apps: {a: {type: noop}}\nhooks: {deploy: {pre: [x]}}", 2, "a hook around a command"),
        ("phases:\n  p: {source: x}", 1, "a project with phases"),
        ("apps: {}\napp_dirs: [a]", 2, "a project of several app groups (`app_dirs`)"),
    ],
)
def test_what_is_not_done_yet_is_refused_with_its_line(
    load: Load, folder: Path, text: str, line: int, message: str
) -> None:
    project = load(files={"config.yaml": text + "\n"})
    with pytest.raises(NotYet) as caught:
        refuse_not_yet(project)
    assert str(caught.value) == f"{folder}/config.yaml:{line}: {message} is not supported yet"


def test_what_is_disabled_is_not_refused(load: Load) -> None:
    refuse_not_yet(
        load(
            config="""
            apps:
              a: {type: hook, tasks: [], enabled: false}
              b: {type: noop, hooks: {pre_deploy: [x]}, enabled: false}
              c: {type: helm, chart: a/b, enabled: false}
            """
        )
    )


def test_what_is_done_is_not_refused(load: Load) -> None:
    refuse_not_yet(
        load(
            config="""
            apps:
              a: {type: helm, chart: ./a}
              b: {type: helm, chart: b}
              c: {type: yaml, manifests: [x]}
              d: {type: exec, commands: [x]}
              e: {type: noop}
              f: {type: kustomize, path: k}
              g: {type: action, actions: [{path: x}, {path: 'https://example.com/x'}]}
              h: {type: git, repo: x}
              k: {type: http, url: 'https://example.com/x', dest: x}
              i: {type: kustomize, path: '${repos.h}/k'}
              j: {type: helm, chart: 'git+https://example.com/x//y'}
              l: {type: helm, chart: x/y}
              m: {type: helm, chart: 'https://example.com/y-1.0.0.tgz'}
              n: {type: helm, chart: 'oci://example.com/y'}
            """
        )
    )


def test_a_file_of_settings_over_groups_is_a_project_of_groups(load: Load) -> None:
    group = {"data/sbkube.yaml": "apiVersion: sbkube/v1\n"}
    with pytest.raises(NotYet, match=r"a project of several app groups \(data\)"):
        refuse_not_yet(load(sbkube="apiVersion: sbkube/v1\nsettings: {cluster: x}\n", files=group))


def test_what_is_wrong_is_said_before_what_is_not_done_yet(load: Load) -> None:
    with pytest.raises(InvalidConfig, match="`repo` of app 'a' is missing"):
        load(config="apps: {a: {type: git}, b: {type: kustomize, path: x}}")
