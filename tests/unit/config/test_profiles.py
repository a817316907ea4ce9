"""What a profile changes, and where values files are looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.apps.helm import HelmApp
from sbkube.config.files import MissingConfig
from sbkube.config.problems import InvalidConfig
from sbkube.config.project import Project
from sbkube.errors import ConfigError

Load = Callable[..., Project]

CONFIG = """
    namespace: shop
    apps:
      db: {type: helm, chart: ./db, values: [db.yaml], labels: {tier: data, size: small}}
      web: {type: noop}
    """


def test_the_config_of_a_profile_is_merged_into_the_usual_one(load: Load, folder: Path) -> None:
    overlay = """
        namespace: shop-dev
        apps:
          db: {values: [dev.yaml], labels: {size: tiny}}
          debug: {type: noop}
        """
    project = load(config=CONFIG, config_dev=overlay, profile="dev")
    db = project.apps["db"]
    assert isinstance(db, HelmApp)
    assert (db.chart, db.values, db.labels) == ("./db", ("dev.yaml",), {"tier": "data", "size": "tiny"})
    assert list(project.apps) == ["db", "web", "debug"]
    assert {app.namespace for app in project.apps.values()} == {"shop-dev"}
    assert project.profile == "dev"
    assert set(project.files) == {folder / "config.yaml", folder / "config-dev.yaml"}
    assert load(profile=None).apps["db"].labels == {"tier": "data", "size": "small"}


def test_the_sources_of_a_profile_take_the_place_of_the_usual_ones(load: Load) -> None:
    sources = {"sources": "cluster: a\nkubeconfig: k\n", "sources_dev": "cluster: b\n"}
    project = load(config=CONFIG, **sources, profile="dev")
    assert (project.settings.cluster, project.settings.kubeconfig) == ("b", None)


def test_a_profile_without_sources_has_the_usual_ones(load: Load) -> None:
    project = load(config=CONFIG, sources="cluster: a\n", config_dev="", profile="dev")
    assert project.settings.cluster == "a"


def test_a_unified_file_has_profiles_too(load: Load) -> None:
    unified = "apiVersion: sbkube/v1\nsettings: {namespace: shop, cluster: a}\napps: {web: {type: noop}}\n"
    assert load(sbkube=unified, sbkube_dev="settings: {namespace: dev}\n", profile="dev").namespace == "dev"
    project = load(config_test="namespace: test\napps: {more: {type: noop}}\n", profile="test")
    assert (project.namespace, list(project.apps)) == ("test", ["web", "more"])
    assert load(sources_prod="cluster: b\n", profile="prod").settings.cluster == "b"


def test_a_profile_may_consist_of_values_alone(load: Load) -> None:
    project = load(config=CONFIG, files={"values/dev/db.yaml": ""}, profile="dev")
    assert project.profile == "dev"


def test_the_environment_names_a_profile_and_a_flag_wins(load: Load) -> None:
    files = {"config": CONFIG, "config_dev": "namespace: dev", "config_prod": "namespace: prod"}
    assert load(**files, environ={"SBKUBE_PROFILE": "dev"}).namespace == "dev"
    assert load(profile="prod", environ={"SBKUBE_PROFILE": "dev"}).namespace == "prod"
    assert load(environ={"SBKUBE_PROFILE": ""}).namespace == "shop"


def test_a_profile_that_nothing_is_known_of_is_refused_with_those_that_exist(
    load: Load, folder: Path
) -> None:
    with pytest.raises(MissingConfig) as caught:
        load(config=CONFIG, config_prod="", sources_dev="", profile="prdo")
    assert str(caught.value) == (
        "there is no profile 'prdo': no `config-prdo.yaml`, `sources-prdo.yaml` "
        f"or folder `values/prdo` in {folder}"
    )
    assert caught.value.hint == "profiles here: dev, prod"


@pytest.mark.parametrize("name", ["../x", "a/b", ".."])
def test_a_profile_is_a_name_and_no_path(load: Load, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a profile"):
        load(config=CONFIG, profile=name)


def test_a_problem_is_reported_in_the_file_of_the_profile_that_has_it(load: Load, folder: Path) -> None:
    with pytest.raises(
        InvalidConfig, match=f"^{folder}/config-dev.yaml:3: there is no field `chrat` in app 'db'$"
    ):
        load(config=CONFIG, config_dev="apps:\n  db:\n    chrat: x\n", profile="dev")


@pytest.mark.parametrize(
    ("profile", "order"),
    [
        ("dev", ["values/dev/a.yaml", "values/common/a.yaml", "values/a.yaml", "a.yaml"]),
        (None, ["a.yaml", "values/a.yaml", "values/common/a.yaml"]),
    ],
)
def test_values_files_are_looked_for_in_this_order(
    load: Load, folder: Path, profile: str | None, order: list[str]
) -> None:
    project = load(config=CONFIG, config_dev="", profile=profile)
    assert project.values_candidates("a.yaml") == [folder / path for path in order]


def test_an_absolute_values_file_is_looked_for_only_there(load: Load) -> None:
    assert load(config=CONFIG).values_candidates("/nowhere/a.yaml") == [Path("/nowhere/a.yaml")]
