"""The helm on PATH, as far as no real one is needed: how it is called, and what comes of what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.helm.base import (
    Capabilities,
    ChartError,
    HelmCrashed,
    HelmMissing,
    RenderError,
    RenderRequest,
    ValuesError,
)
from sbkube.helm.binary import BinaryHelm, _lint_messages, _rendered

pytestmark = pytest.mark.anyio


@pytest.fixture
def helm(tmp_path: Path) -> Callable[[str], BinaryHelm]:
    def make(script: str) -> BinaryHelm:
        program = tmp_path / "helm"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return BinaryHelm(program, {"PATH": os.environ["PATH"], "OUT": str(tmp_path)})

    return make


REQUEST = RenderRequest(
    Path("/charts/web"),
    "demo",
    "shop",
    {"password": "s3cret"},
    Capabilities("v1.30.0", ("a/v1", "b/v1")),
    is_upgrade=True,
)
Make = Callable[[str], BinaryHelm]


def is_there(path: str) -> bool:
    return Path(path).exists()


async def test_everything_is_asked_for_by_options_and_values_go_through_a_private_file(
    helm: Make, tmp_path: Path
) -> None:
    script = """
    for argument; do echo "$argument"; done >"$OUT/arguments"
    while [ "$1" != --values ]; do shift; done
    cp "$2" "$OUT/values"
    ls -l "$2" >"$OUT/mode"
    """
    await helm(script).render(REQUEST)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:8] == [
        "template", "--namespace", "shop", "--include-crds", "--is-upgrade",
        "--kube-version=v1.30.0", "--api-versions=a/v1", "--api-versions=b/v1",
    ]  # fmt: skip
    assert arguments[10:] == ["--", "demo", "/charts/web"]
    assert "s3cret" not in " ".join(arguments)
    assert json.loads((tmp_path / "values").read_text()) == {"password": "s3cret"}
    assert (tmp_path / "mode").read_text().startswith("-rw-------")
    assert not is_there(arguments[9])


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (
            "echo 'Error: execution error at (web/templates/a.yaml:3:4): no' >&2; exit 1",
            RenderError,
            r"a\.yaml:3:4",
        ),
        ("printf 'Error: values don'\"'\"'t meet the specifications\\nx' >&2; exit 1", ValuesError, "meet"),
        (
            "echo 'level=WARN msg=x'; echo 'Error: path not found' >&2; exit 1",
            ChartError,
            "'/charts/web': path not found",
        ),
        ("kill -9 $$", HelmCrashed, "killed by SIGKILL"),
        ("echo 'panic: oh no' >&2; kill -ABRT $$", HelmCrashed, "panic: oh no"),
    ],
)
async def test_what_it_says_becomes_an_error(
    helm: Make, script: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await helm(script).render(REQUEST)


async def test_notices_before_an_error_and_advice_after_it_are_left_out(helm: Make) -> None:
    script = "echo 'level=WARN msg=deprecated' >&2; printf 'Error: YAML parse error on x\\n\\nUse --debug flag to render out invalid YAML\\n' >&2; exit 1"
    with pytest.raises(RenderError) as caught:
        await helm(script).render(REQUEST)
    assert caught.value.text == "YAML parse error on x"


async def test_a_program_that_is_gone_is_a_missing_helm(tmp_path: Path) -> None:
    with pytest.raises(HelmMissing, match="cannot be started") as caught:
        await BinaryHelm(tmp_path / "gone", os.environ).version()
    assert caught.value.hint is not None


async def test_the_largest_error_is_told_in_a_few_words(helm: Make) -> None:
    script = (
        "printf 'Error: template: a.yaml:1: begins' >&2; head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1"
    )
    with pytest.raises(RenderError, match="begins") as caught:
        await helm(script).render(REQUEST)
    assert len(str(caught.value)) < 5000


def test_output_is_told_apart_by_source_kind_and_annotation() -> None:
    rendered = _rendered(
        "---\n# Source: web/crds/a.yaml\nkind: CustomResourceDefinition\n---\nkind: CustomResourceDefinition\n\n"
        "---\n# Source: web/charts/sub/crds/b.yaml\nkind: CustomResourceDefinition\n"
        "---\n# Source: web/templates/crds/b.yaml\nkind: Deployment\n"
        '---\n# Source: web/templates/c.json\n{"kind": "Service"}\n'
        "---\n# Source: web/templates/d.yaml\nkind: ConfigMap\ndata: {a: helm.sh/hook}\n"
        "---\n# Source: web/templates/e.yaml\nkind: Job\nmetadata: {annotations: {helm.sh/hook: test}}\n"
        '---\n# Source: web/templates/00-sbkube-notes.yaml\n{"apiVersion":"x","kind":"Notes","notes":"a\\nb"}\n\n'
    )
    assert rendered.crds.count("kind: CustomResourceDefinition") == 3
    sources = [
        line.rpartition("/")[2] for line in rendered.manifests.splitlines() if line.startswith("# Source")
    ]
    assert sources == ["d.yaml", "c.json", "b.yaml"]
    assert rendered.hooks.startswith("---\n# Source: web/templates/e.yaml\nkind: Job\n")
    assert rendered.notes == "a\nb"


def test_lint_messages_may_have_several_lines() -> None:
    messages = _lint_messages(
        "==> Linting web\n[INFO] Chart.yaml: icon is recommended\n[ERROR] values.yaml: one\n- two: three\n"
        "[WARNING] templates/: last\n\nError: 1 chart(s) linted, 1 chart(s) failed\n"
    )
    assert [(message.severity, message.path, message.text) for message in messages] == [
        ("info", "Chart.yaml", "icon is recommended"),
        ("error", "values.yaml", "one\n- two: three"),
        ("warning", "templates/", "last"),
    ]
