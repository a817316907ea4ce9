"""What is found fails, and what is not found does not: for small projects, with a defect and without."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbkube import api
from sbkube.api import Finding, Outcome
from sbkube.documents import dump
from sbkube.engine import StepStatus
from sbkube.errors import SbkubeError
from sbkube.helm.fake import FakeHelm

CONFIG = "config.yaml"
CHART_YAML = "apiVersion: v2\nname: chart\nversion: 1.0.0\n"
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n"
TEMPLATE = OBJECT.format("{{ .Release.Name }}") + "data:\n  size: '{{ .Values.size }}'\n"


@dataclass
class Drawn:
    """A project as its files, and its config as data."""

    apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str | bytes] = field(default_factory=dict)
    target: object = field(default_factory=lambda: {"directory": "rendered"})

    def of_type(self, kind: str) -> list[str]:
        return [name for name, app in self.apps.items() if app["type"] == kind]

    def write(self) -> None:
        top = {"namespace": "shop"} | ({} if self.target is None else {"target": self.target})
        for name, text in {**self.files, CONFIG: dump({**top, "apps": self.apps})}.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())


def _helm(draw: st.DrawFn, name: str, project: Drawn) -> dict[str, Any]:
    chart, values, extra = f"charts/{name}", f"values/{name}.yaml", f"overrides/{name}/extra.txt"
    project.files |= {f"{chart}/Chart.yaml": CHART_YAML, f"{chart}/templates/a.yaml": TEMPLATE}
    project.files |= {f"{chart}/readme.txt": "x", values: "size: 1\n", extra: "x"}
    app: dict[str, Any] = {"type": "helm", "chart": f"./{chart}", "values": [values]}
    app |= {"overrides": ["extra.txt"]} if draw(st.booleans()) else {}
    app |= {"removes": [draw(st.sampled_from(["readme.txt", "*.txt"]))]}
    return app | ({"release_name": f"{name}.own", "namespace": ""} if draw(st.booleans()) else {})


def _yaml(draw: st.DrawFn, name: str, project: Drawn) -> dict[str, Any]:
    files = [f"objects/{name}/{number}.yaml" for number in range(draw(st.integers(1, 2)))]
    project.files |= {
        file: OBJECT.format(f"{name}-a") + "---\n" + OBJECT.format(f"{name}-b") for file in files
    }
    return {
        "type": "yaml",
        "manifests": draw(st.sampled_from([files, [f"objects/{name}"], ["objects/*/*.yaml"]])),
    }


def _exec(draw: st.DrawFn, name: str, project: Drawn) -> dict[str, Any]:
    return {"type": "exec", "commands": [":"]}


def _noop(draw: st.DrawFn, name: str, project: Drawn) -> dict[str, Any]:
    return {"type": "noop"}


@st.composite
def projects(draw: st.DrawFn) -> Drawn:
    """One app of each type that reads files, and some more."""
    project = Drawn()
    kinds = [_helm, _yaml, *draw(st.lists(st.sampled_from([_helm, _yaml, _exec, _noop]), max_size=3))]
    for number, kind in enumerate(draw(st.permutations(kinds))):
        name = f"app-{number}"
        app = kind(draw, name, project)
        # Behind no command: what it may make is missing until then, and no finding.
        before = [other for other in project.apps if project.apps[other]["type"] != "exec"]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=2)) if before else []
        project.apps[name] = app | {"depends_on": needs}
    return project


Defect = Callable[[Drawn, str], str]
"""Puts something wrong into a project, for one of its apps, and says which file must be named."""


def file_becomes(name: str, text: str | bytes | None) -> Defect:
    """In the place of `{}` is the app."""

    def put(project: Drawn, app: str) -> str:
        file = name.format(app)
        if text is None:
            del project.files[file]
            return CONFIG
        project.files[file] = text
        return file

    return put


def field_becomes(key: str, value: object) -> Defect:
    def put(project: Drawn, app: str) -> str:
        project.apps[app][key] = value
        return CONFIG

    return put


def target_becomes(target: object, **files: str) -> Defect:
    def put(project: Drawn, app: str) -> str:
        project.target = target
        project.files |= {name.replace("__", "/").format(app): text for name, text in files.items()}
        return CONFIG

    return put


def no_archive(project: Drawn, app: str) -> str:
    project.files["chart.tgz"] = "no archive"
    return field_becomes("chart", "./chart.tgz")(project, app)


def chart_without_metadata(project: Drawn, app: str) -> str:
    del project.files[f"charts/{app}/Chart.yaml"]
    return CONFIG


VALUES, CHART, OBJECTS = "values/{}.yaml", "charts/{}/Chart.yaml", "objects/{}/0.yaml"
OF_HELM: dict[str, Defect] = {
    "values are no YAML": file_becomes(VALUES, "size: [1\n"),
    "values are a list": file_becomes(VALUES, "- size\n"),
    "values are a text": file_becomes(VALUES, "size\n"),
    "values are not UTF-8": file_becomes(VALUES, b"size: \xff\n"),
    "values are missing": file_becomes(VALUES, None),
    "values that cannot be set": field_becomes("set_values", ["size[x]=1"]),
    "a chart without metadata": chart_without_metadata,
    "metadata is no YAML": file_becomes(CHART, "name: a: b\n"),
    "metadata without a name": file_becomes(CHART, "version: 1.0.0\n"),
    "metadata without a version": file_becomes(CHART, "name: a\n"),
    "an archive that is none": no_archive,
    "a chart that is missing": field_becomes("chart", "./charts/none"),
    "an override that is missing": field_becomes("overrides", ["none.txt"]),
    "an override outside": field_becomes("overrides", [{"../x": "config.yaml"}]),
    "nothing to remove": field_becomes("removes", ["none.txt"]),
    "something to remove outside": field_becomes("removes", ["../x"]),
    "the metadata removed": field_becomes("removes", ["Chart.yaml"]),
    "a bad release name": field_becomes("release_name", "Own_Name"),
    "a long release name": field_becomes("release_name", "a" * 54),
    "a bad namespace": field_becomes("namespace", "Shop"),
}
OF_YAML: dict[str, Defect] = {
    "objects are no YAML": file_becomes(OBJECTS, OBJECT.format("a") + "---\na: b: c\n"),
    "objects without a kind": file_becomes(OBJECTS, "apiVersion: v1\n"),
    "objects without a name": file_becomes(OBJECTS, "apiVersion: v1\nkind: A\nmetadata: {}\n"),
    "objects that are a text": file_becomes(OBJECTS, "object\n"),
    "objects are not UTF-8": file_becomes(OBJECTS, b"\xff"),
    "objects are missing": field_becomes("manifests", ["none.yaml"]),
    "a pattern that finds nothing": field_becomes("manifests", ["none/*.yaml"]),
    "a long namespace": field_becomes("namespace", "a" * 64),
    "no target": target_becomes(None),
    "a file as target": target_becomes({"directory": "file"}, file="x"),
    "a target below a file": target_becomes({"directory": "file/below"}, file="x"),
    "a target with a stranger's folder": target_becomes({"directory": "out"}, **{"out__{}__mine": "x"}),
}


@contextlib.contextmanager
def in_a_folder_of_its_own() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def found() -> list[Finding]:
    return list(anyio.run(partial(api.check, api.load(Path(), environ={}), environ={})).findings)


def run() -> Outcome:
    # A real Helm would take most of the time here, and these charts use nothing of it.
    request = api.Request(helm=FakeHelm())
    return anyio.run(
        partial(api.run, api.load(Path(), environ={}), request, environ={"PATH": "/usr/bin:/bin"})
    )


@given(projects())
@settings(max_examples=15)
def test_where_nothing_is_found_a_run_completes(project: Drawn) -> None:
    with in_a_folder_of_its_own():
        project.write()
        assert found() == []
        assert run().state.is_complete


@pytest.mark.parametrize("what", [*OF_HELM, *OF_YAML])
@given(project=projects(), data=st.data())
@settings(max_examples=2)
def test_a_defect_is_found_in_its_file_and_the_steps_named_fail(
    project: Drawn, data: st.DataObject, what: str
) -> None:
    app = data.draw(st.sampled_from(project.of_type("helm" if what in OF_HELM else "yaml")))
    file = {**OF_HELM, **OF_YAML}[what](project, app)
    with in_a_folder_of_its_own():
        project.write()
        findings = found()
        places = [finding.at or finding.where for finding in findings]
        assert Path(file).resolve() in {place.file.resolve() for place in places}
        assert all(place.line for place in places) or project.target is None
        _fails_as_told(findings)


def _fails_as_told(findings: list[Finding]) -> None:
    told = {step for finding in findings for step in finding.steps}
    try:
        outcome = run()
    except SbkubeError:
        assert not told  # of the target: nothing was run
        return
    failed = {id for id, step in outcome.state.steps.items() if step.status is StepStatus.FAILED}
    blocked = {id for id, step in outcome.state.steps.items() if step.status is StepStatus.BLOCKED}
    assert told <= failed | blocked
    if told:
        assert failed <= told
