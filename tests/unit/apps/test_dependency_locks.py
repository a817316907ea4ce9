from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.apps.dependencies import Origin, held_by, missing
from sbkube.apps.dependency_locks import StaleLock
from sbkube.errors import Position
from servers.charts import Chart

NEEDS = """\
apiVersion: v2
name: web
version: 1.0.0
dependencies:
- {name: common, version: 1.2, repository: 'file://../common', condition: a.b, tags: [x<y, "&", "é"], alias: one, import-values: [data, {parent: p, child: c}]}
- name: common
  version: ">=1 <2"
  repository: file://../common
  alias: two
  enabled: true
"""
LOCK = """\
dependencies:
- name: common
  repository: file://../common
  version: 1.2.0
- name: common
  repository: file://../common
  version: 1.2.0
digest: sha256:a97f4161e3162a7b535bd3d67e7d08f2e6c5c2103a860eb84cf2cc9b34e08c3d
generated: "2026-11-24T16:41:43.642247871Z"
"""
"""Written by Helm 4.2.3."""


@pytest.fixture
def web(tmp_path: Path) -> Path:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/Chart.yaml").write_text(NEEDS)
    (tmp_path / "web/Chart.lock").write_text(LOCK)
    return tmp_path / "web"


def origin(chart: Path) -> Origin:
    return Origin(chart, None, "./web", Position(Path("config.yaml"), 3))


def test_a_lock_of_helm_fits_what_it_was_made_of(web: Path) -> None:
    assert [(it.name, it.version) for it in missing(web, origin(web))] == [("common", "1.2.0")] * 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.2,", "1.3,"),
        ("a.b", "a.c"),
        ("x<y", "y<x"),
        ("alias: two", "alias: three"),
        ("enabled: true", "enabled: false"),
        ("parent: p", "parent: q"),
        ("file://../common\n", "file://../other\n"),
        ("- name: common", "- name: other"),
        ('">=1 <2"', '">=1 <3"'),
    ],
)
def test_whatever_else_is_asked_for_the_lock_fits_no_more(web: Path, old: str, new: str) -> None:
    assert old in NEEDS
    (web / "Chart.yaml").write_text(NEEDS.replace(old, new))
    with pytest.raises(StaleLock, match=r"web/Chart\.lock: `Chart\.lock` of chart '\./web' does not fit"):
        missing(web, origin(web))


@pytest.mark.parametrize(
    "text", ["", "dependencies: 3", "digest: [", "dependencies: [{name: common}]", "- 1"]
)
def test_a_lock_that_is_none_fits_nothing(web: Path, text: str) -> None:
    (web / "Chart.lock").write_text(text)
    with pytest.raises(StaleLock):
        missing(web, origin(web))


@pytest.mark.parametrize("needs", ["3", "[1]", "{a: b}", "null", "["])
def test_dependencies_that_are_none_are_left_to_helm_to_refuse(web: Path, needs: str) -> None:
    (web / "Chart.yaml").write_text(f"apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: {needs}\n")
    assert missing(web, origin(web)) == []


def test_charts_are_known_by_their_own_names_and_what_helm_passes_over_is_none(web: Path) -> None:
    charts = web / "charts"
    for folder, name in (("here", "db"), ("_off", "off"), (".off", "off"), ("empty", "")):
        (charts / folder).mkdir(parents=True)
        (charts / folder / "Chart.yaml").write_text(f"name: {name}\nversion: 1.0\n" if name else "")
    (charts / "some.tgz").write_bytes(Chart("db", "2.0.0").packed)
    (charts / "bad.tgz").write_bytes(b"no archive")
    (charts / "README.md").write_text("name: readme")
    found = held_by(web)
    assert found["db"] == ["1.0", "2.0.0"]
    assert set(found) <= {"db", ""}
