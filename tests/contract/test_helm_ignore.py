"""`.helmignore`: what we leave out of a chart's folder is what the programs leave out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from helm_binaries import BINARIES

from sbkube.apps.files import files_of_chart
from sbkube.helm.ignore import ignored_by

FILES = [
    "README.md",
    "a.txt",
    "b.txt",
    ".hidden",
    "docs/a.txt",
    "docs/b.md",
    "docs/deep/a.txt",
    "docs/deep/c.txt",
    "rendered/web/manifests.yaml",
    "[x].txt",
    "ab.txt",
    "a-b.txt",
    "x/y/z.txt",
    ".git.txt",
    "data/.keep",
    "data/1.json",
    "data/2.json",
    "data/10.json",
    "é.txt",
]

RULES = [
    "",
    "# a comment\n\n  *.md  \n",
    "\ufeff*.md\r\nrendered/\r\n",
    "*.txt",
    "/*.txt",
    "docs/*.txt",
    "docs",
    "docs/",
    "/docs/deep/",
    "deep",
    "a.txt/",
    "?.txt",
    "[ab].txt",
    "[^a].txt",
    "[a-b].txt\ndata/[0-9].json",
    r"\[x\].txt",
    r"[\[].txt",
    "[^x]*.txt",
    "x*z.txt",
    "x/*/z.txt",
    ".*",
    "!*.txt",
    "!docs/\n*.md",
    "!data/1.json",
    "!*",
    "!",
    "/",
    ".helmignore",
    "[?].txt",
    "*/*",
]
BROKEN = ["**/a.txt", "[a.txt", "a\\", "[]a]", "[-a]", "[a-]"]


def chart_with(folder: Path, rules: str) -> Path:
    chart = folder / "chart"
    for name in (*FILES, "templates/_helpers.tpl", "templates/.swap"):
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: ignore\nversion: 1.0.0\n")
    template = '{{ range $path, $_ := .Files.Glob "**" }}\n- {{ $path | quote }}{{ end }}\n'
    (chart / "templates/files.yaml").write_text("files:" + template)
    (chart / ".helmignore").write_bytes(rules.encode())
    return chart


def seen_by(program: str, chart: Path) -> set[str] | None:
    printed = subprocess.run([program, "template", "x", str(chart)], capture_output=True, check=False)
    document = yaml.safe_load(printed.stdout)
    return set(document["files"] or ()) if document else None


@pytest.mark.parametrize("rules", RULES)
def test_what_is_left_out_is_what_the_program_leaves_out(tmp_path: Path, rules: str) -> None:
    chart = chart_with(tmp_path, rules)
    seen = {name for name, _ in files_of_chart(chart)}
    assert "templates/.swap" not in seen
    for program in BINARIES.values():
        wanted = seen_by(program, chart)
        if wanted is None:  # the chart itself was left out
            assert not {"Chart.yaml", "templates/files.yaml"} <= seen
        else:
            assert {name for name in seen if name in FILES} == wanted - {".helmignore"}


@pytest.mark.parametrize("rules", BROKEN)
def test_rules_that_the_program_refuses_leave_nothing_out(tmp_path: Path, rules: str) -> None:
    chart = chart_with(tmp_path, rules + "\n*.txt\n")
    assert not any(ignored_by(chart)(name, False) for name in FILES)
    assert [seen_by(program, chart) for program in BINARIES.values()] == [None] * len(BINARIES)
