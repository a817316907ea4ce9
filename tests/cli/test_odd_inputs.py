"""Manifests, values and commands as people write them that are odd and legal, and some that are only odd."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sbkube.documents import parse_all

from .project import ProjectFolder, chart, manifest

MAP = manifest("one")
LIST = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}
"""


def rendered(project: ProjectFolder, app: str = "web") -> str:
    path = project.root / "rendered" / app / "manifests.yaml"
    return path.read_bytes().decode() if path.exists() else ""


def objects(text: str) -> list[object]:
    return [document.data for document in parse_all(text, file=Path("x"))]


MANIFESTS = {
    "nothing": (b"", 0),
    "only comments": (b"# nothing\n\n# here\n", 0),
    "only dashes": (b"---\n---\n# nothing\n---\n", 0),
    "lines of Windows": (f"{MAP}---\n{manifest('two')}".replace("\n", "\r\n").encode(), 2),
    "a mark of the byte order": (f"\ufeff---\n{MAP}".encode(), 1),
    "dashes at the end": (f"{MAP}---\n".encode(), 1),
    "dots at the end": (f"{MAP}...\n# done\n".encode(), 1),
    "dashes in a text": (f"{MAP}  text: |\n    ---\n    a: b\n    ---\n".encode(), 1),
    "a list": (LIST.encode(), 1),
    "an object of 5 MB": (manifest("one", big="x" * 5_000_000).encode(), 1),
    "JSON": (b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}', 1),
    "no end of the last line": (MAP.rstrip("\n").encode(), 1),
}


@pytest.mark.parametrize("labels", ["", ", labels: {team: x}"], ids=["as it is", "labelled"])
@pytest.mark.parametrize("what", MANIFESTS)
def test_an_odd_manifest_comes_out_as_the_objects_it_holds(
    project: ProjectFolder, what: str, labels: str
) -> None:
    content, count = MANIFESTS[what]
    project.config(f"web: {{type: yaml, manifests: [web.yaml]{labels}}}\n")
    (project.root / "web.yaml").write_bytes(content)
    ended = project("run")
    assert ended.code == 0, ended
    text = rendered(project)
    assert len(objects(text)) == count
    if not labels:
        assert objects(text) == [data for data in objects(content.decode()) if data is not None]
    elif count:
        assert "team: x" in text
    assert project.runs("--resume") == []


WRONG = {
    "a name that is a truth value": (
        MAP.replace("name: one", "name: y"),
        "is the truth value 'true' (put it in quotes",
    ),
    "a name that is a number": (MAP.replace("name: one", "name: 1"), "is the number 1 (put it in quotes"),
    "a tab": (MAP.replace("  name", "\tname"), "web.yaml:4:1: is not valid YAML"),
    "a name made later": (
        MAP.replace("name: one", "generateName: x-"),
        "`generateName` makes a new object each time",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_manifest_is_told_with_both_places(project: ProjectFolder, what: str) -> None:
    text, told = WRONG[what]
    project.config("web: {type: yaml, manifests: [web.yaml]}\n")
    project.write({"web.yaml": text})
    ended = project("run")
    assert ended.code == 1
    assert "config.yaml:4: manifest web.yaml:" in ended.err
    assert told in ended.err


def test_bytes_that_are_no_text_are_told_with_their_line(project: ProjectFolder) -> None:
    project.config("web: {type: yaml, manifests: [web.yaml]}\n")
    (project.root / "web.yaml").write_bytes(MAP.encode() + b"  b: \xff\n")
    assert "manifest web.yaml:7: is not UTF-8: byte 0xff" in project("run").err


def test_a_file_name_of_several_lines_is_one_line_and_no_yaml(project: ProjectFolder) -> None:
    project.config("web: {type: yaml, manifests: [objects]}\nbad: {type: yaml, manifests: [bad]}\n")
    project.write({"objects/a\nevil: 1\n.yaml": MAP, "bad/b\nc.yaml": "a: b\n"})
    (project.root / "objects" / os.fsdecode(b"\xff.yaml")).write_text(manifest("two"))
    ended = project("run")
    assert ended.code == 1
    assert "bad/b\\nc.yaml:1" in ended.err
    assert [line for line in rendered(project).splitlines() if line.startswith("# Source")] == [
        "# Source: objects/a\\nevil: 1\\n.yaml",
        "# Source: objects/\\udcff.yaml",
    ]
    assert len(objects(rendered(project))) == 2
    assert project.runs("--resume", code=1) == ["bad:template"]


def test_a_folder_without_manifests_is_told_as_such(project: ProjectFolder) -> None:
    project.config("web: {type: yaml, manifests: [objects]}\n")
    project.write({"objects/readme.md": "x"})
    told = "config.yaml:4: manifest 'objects' is missing: the folder has no file that ends in `.yaml`, `.yml` or `.json`"
    for command in ("run", "validate", "plan"):
        assert told in project(command).err


# Values


@pytest.mark.parametrize(
    ("content", "greeting"),
    [
        (b"", "hello"),
        (b"# nothing\n", "hello"),
        (b"null\n", "hello"),
        (b"---\ngreeting: bye\n---\n", "bye"),
        (b"greeting: bye\n---\n# done\n", "bye"),
        (b"greeting: bye\n...\n", "bye"),
        (b"\xef\xbb\xbfgreeting: bye\r\n", "bye"),
    ],
)
def test_an_odd_values_file_holds_what_helm_would_see(
    project: ProjectFolder, content: bytes, greeting: str
) -> None:
    project.config("web: {type: helm, chart: ./charts/web, values: [values/linked.yaml]}\n")
    project.write({**chart("web"), "values/readme.md": ""})
    (project.root / "real.yaml").write_bytes(content)
    (project.root / "values/linked.yaml").symlink_to("../real.yaml")
    ended = project("run")
    assert ended.code == 0, ended
    assert f'greeting: "{greeting}"' in rendered(project)
    (project.root / "real.yaml").write_bytes(content + b"# more\n")
    assert "web:template" in project.runs("--resume")


# Commands

PRINTED = {
    'echo "it\'s" \'a "b"\'': ['it\'s a "b"'],
    "printf abc": ["abc"],
    r"printf 'a\0b\377\n'": ["a\0b\ufffd"],
    "cat; read x; echo end": ["end"],
    "exec >&- 2>&-; exit 0": [],
    "sleep 3 & echo started": ["started"],
    "set -e\necho one\ncat <<EOF\ntwo\nEOF\n": ["one", "two"],
    "# nothing": [],
    "test -t 1 || echo no terminal": ["no terminal"],
    "head -c 200000 /dev/zero | tr '\\0' x; echo": ["x" * 65536, "x" * 65536, "x" * 65536, "x" * 3392],
}


@pytest.mark.parametrize("command", PRINTED)
def test_an_odd_command_ends_and_its_log_has_what_it_printed(project: ProjectFolder, command: str) -> None:
    app = {"type": "exec", "commands": [command]}
    project.write({"config.yaml": json.dumps({"target": {"directory": "rendered"}, "apps": {"a": app}})})
    ended = project.process("run")
    assert ended.code == 0, ended
    log = project.state / "runs/000001/logs/a.deploy.1.log"
    assert (log.read_text().splitlines() if log.exists() else []) == PRINTED[command]


def test_arguments_reach_a_command_as_they_are_written(project: ProjectFolder) -> None:
    words = ["a'b", 'c "d"', "$HOME", "*", "", "é\n"]
    app = {"type": "exec", "commands": [["printf", "<%s>", *words]]}
    project.write({"config.yaml": json.dumps({"target": {"directory": "rendered"}, "apps": {"a": app}})})
    assert project("run").code == 0
    log = project.state / "runs/000001/logs/a.deploy.1.log"
    assert log.read_text() == "".join(f"<{word}>" for word in words) + "\n"


@pytest.mark.slow
def test_millions_of_bytes_of_output_are_all_in_the_log(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['yes 0123456789 | head -n 500000']}\n")
    ended = project("run")
    assert ended.code == 0
    assert len(ended.err) < 20_000
    assert (project.state / "runs/000001/logs/a.deploy.1.log").stat().st_size == 11 * 500_000
