"""What is found of a project that is not run: all of it at once, with its lines, and nothing that is none."""

from __future__ import annotations

import contextlib
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from sbkube import api
from sbkube.api import Finding, Request
from sbkube.apps.base import App
from sbkube.apps.checks import Refusal
from sbkube.apps.work import Place
from sbkube.config.problems import InvalidConfig
from sbkube.errors import ConfigError


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        yield tmp_path


CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/templates/a.yaml": "apiVersion: v1\n",
}
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
TARGET = "target: {directory: out}"


def write(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(
    *apps: str, top: str = TARGET, target: str | None = None, environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Apps stand from line 3 on."""
    write({"config.yaml": "\n".join([top, "apps:", *(f"  {app}" for app in apps), ""])})
    project = api.load(Path(), environ={})
    return list(
        anyio.run(partial(api.check, project, Request(target=target), environ=environ or {})).findings
    )


def told(*apps: str, top: str = TARGET) -> list[str]:
    return [str(finding) for finding in found(*apps, top=top)]


WEB = "web: {type: helm, chart: ./chart"


def test_every_bad_values_file_is_told_with_its_own_line_and_that_of_the_config() -> None:
    write({**CHART, "syntax.yaml": "a: 1\nb: c: d\n", "list.yaml": "\n- a\n", "fine.yaml": "a: b\n"})
    Path("latin.yaml").write_bytes(b"a: b\nc: \xe4\n")
    findings = found(WEB + ",", "  values: [fine.yaml, syntax.yaml,", "    list.yaml, latin.yaml]}")
    assert [str(finding) for finding in findings] == [
        (
            "config.yaml:4: values file syntax.yaml:2:5: is not valid YAML: mapping values are not allowed in "
            "this context, so web:template would fail"
        ),
        (
            "config.yaml:5: values file list.yaml:2: the file must hold keys and values, not a list, "
            "so web:template would fail"
        ),
        "config.yaml:5: values file latin.yaml:2: is not UTF-8: byte 0xe4, so web:template would fail",
    ]
    assert [(f.at.file.name, f.at.line, f.at.column) for f in findings if f.at is not None] == [
        ("syntax.yaml", 2, 5),
        ("list.yaml", 2, None),
        ("latin.yaml", 2, None),
    ]
    assert {finding.app for finding in findings} == {"web"}
    assert findings[0].hint == "quote a value that contains `: `, or check the indentation"


def test_values_set_where_they_cannot_be_are_told() -> None:
    write({**CHART, "web.yaml": "a: text\n"})
    told_of = "config.yaml:3: chart './chart': cannot set 'a.b=1': 'a' is text, not a mapping"
    assert (told(WEB + ", values: [web.yaml], set_values: ['a.b=1']}"))[0].startswith(told_of)


def test_every_document_that_is_no_object_is_told() -> None:
    write({"a.yaml": f"{CONFIG_MAP}---\nkind: B\n---\n{CONFIG_MAP}---\n- x\n---\napiVersion: v1\nkind: C\n"})
    write({"b.yaml": "a: [\n", "c.yaml": CONFIG_MAP})
    assert told("objects: {type: yaml, manifests: [a.yaml, b.yaml, c.yaml]}") == [
        f"config.yaml:3: manifest {what}, so objects:template would fail"
        for what in (
            "a.yaml:5: an object has no `apiVersion`",
            "a.yaml:11: a document is no Kubernetes object but a list",
            "a.yaml:13: a C has no `metadata`",
            "b.yaml:2:1: is not valid YAML: did not find expected node content",
        )
    ]


CHARTS = {
    "a folder without one": (
        {"chart/values.yaml": "a: b\n"},
        "chart './chart' has no `Chart.yaml` in",
        "prepare",
    ),
    "no YAML": ({"chart/Chart.yaml": "name: [\n"}, "chart chart/Chart.yaml:2:1: is not valid YAML", "build"),
    "a list": (
        {"chart/Chart.yaml": "- name\n"},
        "chart chart/Chart.yaml:1: the file must hold keys",
        "build",
    ),
    "no name": ({"chart/Chart.yaml": "version: 1.0.0\n"}, "chart chart/Chart.yaml:1: has no `name`", "build"),
    "no version": ({"chart/Chart.yaml": "name: a\nversion:\n"}, "Chart.yaml:2: has no `version`", "build"),
    "a bad version": (
        {"chart/Chart.yaml": "name: a\nversion: latest\n"},
        "Chart.yaml:2: `version` 'latest' is no semantic version",
        "build",
    ),
    "a library": (
        {"chart/Chart.yaml": "name: a\nversion: 1.0.0\ntype: library\n"},
        "Chart.yaml:3: a library chart cannot be deployed itself",
        "build",
    ),
    "an unknown type": (
        {"chart/Chart.yaml": "name: a\nversion: 1.0.0\ntype: app\n"},
        "Chart.yaml:3: `type` must be application, not 'app'",
        "build",
    ),
}


@pytest.mark.parametrize("what", CHARTS)
def test_a_chart_that_is_none_is_told(what: str) -> None:
    files, said, stage = CHARTS[what]
    write(files)
    (line,) = told(WEB + "}")
    assert line.startswith("config.yaml:3: ")
    assert said in line
    assert line.endswith(f", so web:{stage} would fail")


@pytest.mark.parametrize("version", ["1", "v1.2", "1.10", "01.2.3", "1.2.3-rc.1+build-7", '"1.0.0"'])
def test_a_version_that_helm_takes_is_no_finding(version: str) -> None:
    write({"chart/Chart.yaml": f"name: 12\nversion: {version}\n"})
    assert told(WEB + "}") == []


def test_an_archive_is_looked_into() -> None:
    write({**CHART, "text.tgz": "text", "x.yaml": "name: [\n"})
    for name, parts in {
        "fine.tgz": {"chart": "web"},
        "empty.tgz": {"chart/templates": "web"},
        "broken.tgz": {"x.yaml": "web/Chart.yaml"},
    }.items():
        with tarfile.open(name, "w:gz") as archive:
            for path, inside in parts.items():
                archive.add(path, inside)
    assert told(*(f"{n}: {{type: helm, chart: ./{n}.tgz}}" for n in ("fine", "text", "empty", "broken"))) == [
        "config.yaml:4: chart './text.tgz' cannot be unpacked: Not a gzipped file (b'te'), so text:prepare would fail",
        (
            "config.yaml:5: chart './empty.tgz' has no `Chart.yaml` in the one folder an archive holds, "
            "so empty:prepare would fail"
        ),
        (
            "config.yaml:6: chart broken.tgz/Chart.yaml:2:1: is not valid YAML: did not find expected node content, "
            "so broken:build would fail"
        ),
    ]


def test_what_is_laid_over_a_chart_and_removed_from_it_is_tried() -> None:
    write(
        {
            **CHART,
            "overrides/web/new.yaml": "a: b\n",
            "overrides/web/gone.yaml": "a: b\n",
            "bad.yaml": "- a\n",
        }
    )
    assert told(
        WEB + ", overrides: [new.yaml, gone.yaml, {../up.yaml: bad.yaml}, {Chart.yaml: bad.yaml}],",
        "  removes: [gone.yaml, templates/*, templates/*.yaml, charts/none, ../x]}",
    ) == [
        "config.yaml:3: '../up.yaml' is not a path inside the chart, so web:build would fail",
        (
            "config.yaml:3: override bad.yaml:1: the file must hold keys and values, not a list, "
            "so web:build would fail"
        ),
        "config.yaml:4: nothing to remove: 'templates/*.yaml' is not in the chart",
        "config.yaml:4: nothing to remove: 'charts/none' is not in the chart",
        "config.yaml:4: '../x' is not a path inside the chart, so web:build would fail",
    ]
    assert Path("chart/templates/a.yaml").exists()


def test_a_chart_without_its_metadata_in_the_end_is_told() -> None:
    write(CHART)
    (line,) = told(WEB + ", removes: [Chart.yaml]}")
    assert "has no `Chart.yaml` any more, which `removes` took, so web:build would fail" in line


def test_a_link_in_a_chart_to_what_never_ends_is_not_followed() -> None:
    write(CHART)
    Path("chart/endless").symlink_to("/dev/zero")
    (line,) = told(WEB + "}")
    assert "chart './chart' holds 'endless', which is a device, so web:prepare would fail" in line


@pytest.mark.timeout(20)
def test_a_pipe_or_a_device_is_told_and_not_waited_for() -> None:
    os.mkfifo("pipe")
    lines = told(
        "a: {type: yaml, manifests: [pipe, /dev/zero]}",
        "b: {type: helm, chart: ./pipe}",
        "c: {type: helm, chart: ./none, values: [pipe], overrides: [{x: pipe}]}",
    )
    assert [(line.split(":")[1], line.split(", so ")[1]) for line in lines] == [
        *[("3", "a:template would fail")] * 2,
        ("4", "b:prepare would fail"),
        ("5", "c:prepare would fail"),
        ("5", "c:build would fail"),
        ("5", "c:template would fail"),
    ]
    assert sum("is a named pipe" in line for line in lines) == 4


def test_a_file_larger_than_any_memory_is_told() -> None:
    write({**CHART, "huge.yaml": ""})
    os.truncate("huge.yaml", 1 << 42)
    lines = told("a: {type: yaml, manifests: [huge.yaml]}", f"{WEB}, values: [huge.yaml]}}")
    assert lines == [
        "config.yaml:3: manifest huge.yaml: is larger than 256 MiB, so a:template would fail",
        "config.yaml:4: values file huge.yaml: is larger than 256 MiB, so web:template would fail",
    ]


def test_names_that_helm_or_kubernetes_refuse_are_told_where_they_are_written() -> None:
    write({**CHART, "a.yaml": CONFIG_MAP})
    long = "a" * 54
    assert told(
        f"{long}: {{type: helm, chart: ./chart}}",
        f"short: {{type: helm, chart: ./chart, release_name: {long}}}",
        "dots: {type: helm, chart: ./chart, release_name: a.b, namespace: ''}",
        "signs: {type: helm, chart: ./chart,",
        "  release_name: A_b, namespace: Shop}",
        "objects: {type: yaml, manifests: [a.yaml]}",
        "more: {type: yaml, manifests: [a.yaml]}",
        "own: {type: yaml, manifests: [a.yaml], namespace: '!ignore'}",
        top=f"{TARGET} \nnamespace: a.b",
    ) == [
        (
            "config.yaml:2: the namespace 'a.b' must consist of at most 63 lower-case letters, digits and inner "
            f"dashes, so {long}:template and 3 more would fail"
        ),
        (
            f"config.yaml:4: the app name '{long}' is 54 characters long, and Helm takes 53 for a release, "
            f"so {long}:template would fail"
        ),
        (
            f"config.yaml:5: the release name '{long}' is 54 characters long, and Helm takes 53 for a release, "
            "so short:template would fail"
        ),
        (
            "config.yaml:8: the release name 'A_b' must consist of lower-case letters, digits and inner dashes or "
            "dots, so signs:template would fail"
        ),
        (
            "config.yaml:8: the namespace 'Shop' must consist of at most 63 lower-case letters, digits and inner "
            "dashes, so signs:template would fail"
        ),
    ]


def test_a_file_that_a_command_makes_first_is_no_finding() -> None:
    write(CHART)
    make = "make: {type: exec, commands: ['true']}"
    made = "values: [made.yaml], overrides: [made.yaml], depends_on: [make]}"
    assert told(make, f"{WEB}, {made}") == []
    assert told(make, f"web: {{type: helm, chart: ./made, {made}") == []
    assert len(told(make, f"{WEB}, {made.replace('make', '')}")) == 2


def test_nothing_of_a_disabled_app_is_found() -> None:
    assert told("web: {type: helm, chart: ./none, enabled: false, release_name: A_b}") == []


def test_what_many_apps_share_is_said_once() -> None:
    write({**CHART, "all.yaml": "a: [\n"})
    web = "{type: helm, chart: ./chart}"
    findings = found(
        f"a: {web}", f"b: {web}", f"c: {web}", top=f"{TARGET}\nsettings: {{cluster_values_file: all.yaml}}"
    )
    assert [(str(finding), finding.app) for finding in findings] == [
        (
            (
                "config.yaml:2: values file all.yaml:2:1: is not valid YAML: did not find expected node content, "
                "so a:template and 2 more would fail"
            ),
            None,
        )
    ]


def test_a_pattern_or_a_name_that_cannot_be_used_does_not_hide_the_rest() -> None:
    write(CHART)
    lines = told(
        "a: {type: yaml, manifests: ['x/**.yaml']}",
        f"b: {{type: helm, chart: ./chart, values: [{'x' * 300}]}}",
        "c: {type: yaml, manifests: [none.yaml]}",
    )
    assert [line.split(":")[1] for line in lines] == ["3", "4", "5"]
    assert "file name too long" in lines[1]


# Where it would go


def test_a_target_that_is_none_is_told_and_stays_as_it_is() -> None:
    write({"file": "x", "a.yaml": CONFIG_MAP, "theirs/a/mine": "x"})
    app = "a: {type: yaml, manifests: [a.yaml]}"
    for target, said in {
        "file": "cannot be the target: it is a file",
        "file/below": "cannot be the target: it is below",
        ".sbkube/out": "is inside the state folder of sbkube",
        "theirs": "app 'a' would replace",
    }.items():
        (line,) = told(app, top=f"target: {{directory: {target}}}")
        assert line.startswith("config.yaml:1: ")
        assert said in line
        (finding,) = found(app, target=target)
        assert said in finding.message
    assert found("a: {type: yaml, manifests: [a.yaml], enabled: false}", target="theirs") == []
    assert found(app, target="new/and/deep") == []
    assert sorted(os.listdir()) == ["a.yaml", "config.yaml", "file", "theirs"]
    assert os.listdir("theirs") == ["a"]


def test_a_target_whose_list_of_apps_is_broken_is_told_and_what_lies_there_stays() -> None:
    left = {"out/.sbkube-apps.json": "{", "out/.sbkube-apps.json.new": "x", "out/.sbkube-new.a.1/x": "x"}
    write(left)
    (finding,) = found("a: {type: noop}")
    assert "cannot tell which folders" in finding.message
    assert all(Path(name).exists() for name in left)


def test_a_target_is_refused_just_where_it_cannot_be_written() -> None:
    Path("out").mkdir(mode=0o500)
    lines = told("a: {type: noop}")
    assert len(lines) == (0 if os.access("out", os.W_OK) else 1)  # root may write everywhere
    assert all("cannot write" in line for line in lines)


def test_without_a_target_a_cluster_is_looked_for_and_missed(folder: Path) -> None:
    own = {"KUBECONFIG": str(folder / "kubeconfig")}
    (finding,) = found("a: {type: noop}", top="namespace: shop", environ=own)
    assert finding.message == f"there is no kubeconfig: {folder}/kubeconfig does not exist"
    assert str(finding.where) == "config.yaml"


# And what is not a finding


def test_of_a_project_that_cannot_be_loaded_all_problems_are_findings() -> None:
    write({"config.yaml": "apps:\n" + "".join(f"  a{n}: {{type: nop}}\n" for n in range(15))})
    with pytest.raises(InvalidConfig) as caught:
        api.load(Path(), environ={})
    assert [finding.where.line for finding in api.findings_of(caught.value)] == list(range(2, 17))
    assert api.findings_of(ConfigError("nowhere")) == []


@pytest.mark.anyio
async def test_a_check_that_hangs_in_a_file_can_be_cancelled() -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Hanging(App):
        def check(self, place: Place) -> Iterator[Refusal]:
            reached.set()
            go_on.wait()
            yield from ()

    write({"config.yaml": f"{TARGET}\napps: {{a: {{type: noop}}}}\n"})
    project = api.load(Path(), environ={})
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.check, replace(project, apps={"a": Hanging(type="noop")}))
            await anyio.to_thread.run_sync(reached.wait)
            tasks.cancel_scope.cancel()
    finally:
        go_on.set()


def test_an_app_that_the_target_cannot_take_is_told_with_its_line() -> None:
    write({"x": "a: b\n"})
    (finding,) = found("a: {type: action, actions: [{path: x}]}")
    assert finding.message == "app 'a' of type action needs a cluster, and the target is a folder"
    assert finding.where.line == 3
