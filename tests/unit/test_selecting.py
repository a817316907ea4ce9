"""From words to a selection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planned import planned, project

from sbkube.config.project import Project
from sbkube.errors import ConfigError
from sbkube.selecting import Asked, selection


def chosen(project: Project, **asked: Any) -> tuple[list[str], list[str]]:
    stages = list(planned(project).values())
    made = selection(project, stages, Asked(**asked))
    order = [stage.id for stage in stages]
    return (
        [id for id in order if made.steps is None or id in made.steps],
        [id for id in order if id in made.left_pending],
    )


def test_without_a_selection_everything_is_meant(tmp_path: Path) -> None:
    own = project(tmp_path)
    made = selection(own, list(planned(own).values()), Asked(resume=True, rerun_interrupted=True))
    assert made.steps is None
    assert made.rerun_interrupted is True


def test_a_stage_leaves_the_later_ones_of_the_chosen_apps_pending(tmp_path: Path) -> None:
    own = project(tmp_path)
    assert chosen(own, only="template", apps=("web",)) == (["web:template"], ["web:deploy"])
    assert chosen(own, to_step="build") == (
        ["web:prepare", "web:build"],
        [
            *("db:deploy", "web:template", "web:deploy", "objects:template", "objects:deploy"),
            *("gate:done", "off:deploy"),
        ],
    )
    assert chosen(own, from_step="deploy", labels=("team=shop",)) == (["web:deploy"], [])
    assert chosen(own, from_step="build", to_step="template", apps=("web",))[0] == [
        "web:build",
        "web:template",
    ]


@pytest.mark.parametrize(
    ("asked", "told", "hint"),
    [
        ({"only": "templat"}, "'templat' is no stage", "did you mean 'template'?"),
        ({"apps": ("wbe",)}, "there is no app 'wbe'", "did you mean 'web'?"),
        ({"labels": ("team=shp",)}, "no app has the label 'team=shp'", "did you mean 'team=shop'?"),
        (
            {"continue_from": "wbe:deploy"},
            "'wbe:deploy' is no stage, app or step",
            "did you mean 'web:deploy'?",
        ),
        ({"apps": ("qqqq",)}, "there is no app 'qqqq'", "there are: db, web, objects, gate, off"),
    ],
)
def test_a_word_that_names_nothing_is_told_with_the_nearest(
    tmp_path: Path, asked: dict[str, Any], told: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        chosen(project(tmp_path), **asked)
    assert told in str(raised.value)
    assert raised.value.hint == hint


def test_a_bare_word_is_a_stage_first_and_with_a_colon_an_app(tmp_path: Path) -> None:
    own = project(
        tmp_path, "  deploy: {type: yaml, manifests: [o.yaml]}\n  a: {type: exec, commands: ['true']}\n"
    )
    stages = list(planned(own).values())

    def again(word: str) -> list[str]:
        return sorted(selection(own, stages, Asked(continue_from=word)).continue_from)

    assert again("deploy") == ["a:deploy", "deploy:deploy"]
    assert again("deploy:") == ["deploy:deploy", "deploy:template"]
    assert again("template") == ["a:deploy", "deploy:deploy", "deploy:template"]
    assert again("a:deploy") == again("a") == ["a:deploy"]
