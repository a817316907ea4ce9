from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sbkube.targets.base import ChartName
from sbkube.targets.cluster import wrapping
from sbkube.targets.cluster.objects import Unreleasable, objects_of, refuse_duplicates
from sbkube.targets.cluster.wrapping import wrap

ODD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: odd}
data:
  braces: "{{ .Values.no }} }} {{"
  anchored: &a text
  again: *a
  kept: |+
    last lines


"""


def config_map(name: str, namespace: str = "") -> str:
    where = f"\n  namespace: {namespace}" if namespace else ""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}{where}\n"


def test_each_document_is_a_file_that_a_template_prints_untouched() -> None:
    chart = wrap("odd", objects_of(f"---\n{ODD}---\n{config_map('b')}"))
    assert chart.files["files/0000.yaml"] == ODD
    assert chart.files["templates/0000.yaml"] == '{{ .Files.Get "files/0000.yaml" }}\n# end\n'
    assert "files/0001.yaml" in chart.files
    assert "files/0002.yaml" not in chart.files


def test_carriage_returns_and_a_byte_order_mark_do_not_reach_the_chart() -> None:
    chart = wrap("a", objects_of("\ufeff" + config_map("a").replace("\n", "\r\n")))
    assert chart.files["files/0000.yaml"] == config_map("a")


def test_the_items_of_a_list_are_objects_of_their_own_also_in_a_list_of_lists() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(config_map("b"))]}
    outer = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(config_map("a")), inner]}
    assert [found.id.name for found in objects_of(yaml.safe_dump(outer))] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n", "generateName: x-"),
        ("apiVersion: v1\nkind: Pod\n", "no `metadata.name`"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "no `kind`"),
        ("- a\n", "no Kubernetes object"),
    ],
)
def test_what_helm_could_not_keep_is_refused(text: str, words: str) -> None:
    with pytest.raises(Unreleasable, match=words):
        objects_of(text)


def test_two_of_one_object_are_refused_whatever_version_they_name() -> None:
    one, other = ("apiVersion: apps/v1\n", "apiVersion: apps/v1beta1\n")
    rest = "kind: Deployment\nmetadata: {name: web}\n"
    with pytest.raises(Unreleasable, match="Deployment web is there twice"):
        refuse_duplicates(objects_of(f"{one}{rest}---\n{other}{rest}"))
    refuse_duplicates(objects_of(config_map("a", "x") + "---\n" + config_map("a", "y")))


def test_an_app_that_no_secret_could_hold_is_refused_with_both_sizes() -> None:
    noise = random.Random(1).randbytes(1_200_000).hex()
    text = f"{config_map('a')}data:\n  noise: {noise}\n"
    with pytest.raises(Unreleasable, match=r"needs a release of \d+ KiB, and a Secret holds 1008 KiB"):
        wrap("a", objects_of(text))


def test_name_and_version_tell_app_and_content_and_fit_a_label() -> None:
    one, same, other = (wrap("a" * 80, objects_of(config_map(name))) for name in ("one", "one", "two"))
    assert one.version == same.version != other.version
    assert len(one.name) <= 63


@given(st.lists(st.text(alphabet="abcxz", min_size=2, max_size=8), unique=True, min_size=1, max_size=12))
def test_no_object_is_lost_and_their_order_stays(names: list[str]) -> None:
    objects = objects_of("---\n".join(map(config_map, names)))
    assert [found.id.name for found in objects] == names
    assert len(wrap("a", objects).documents) == len(names)


def test_writing_leaves_nothing_of_an_earlier_chart(tmp_path: Path) -> None:
    folder = tmp_path / "chart"
    wrap("a", objects_of(config_map("a") + "---\n" + config_map("b")), notes="hello").write(folder)
    wrap("a", objects_of(config_map("a"))).write(folder)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["Chart.yaml", "files/0000.yaml", "templates/0000.yaml"]
    assert wrapping.END in (folder / "templates/0000.yaml").read_text()


def test_a_chart_that_is_wrapped_keeps_its_name_and_versions() -> None:
    chart = wrap("web", objects_of(config_map("a")), named=ChartName("nginx", "1.2.3+build.4", "1.27"))
    metadata = yaml.safe_load(chart.files["Chart.yaml"])
    assert metadata == {"apiVersion": "v2", "name": "nginx", "version": "1.2.3+build.4", "appVersion": "1.27"}


def test_what_helm_is_to_install_once_is_where_helm_looks_for_it() -> None:
    crds = objects_of(config_map("crd"))
    chart = wrap("web", objects_of(config_map("a")), crds=crds)
    assert chart.files["crds/0000.yaml"] == config_map("crd")
    assert len(chart.documents) == 1
