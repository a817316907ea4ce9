"""Many objects asked for by kubectl: a program that answers as kubectl does stands in for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sbkube.helm.releases import Cluster, ClusterUnreachable
from sbkube.targets.cluster.kubectl import Kubectl
from sbkube.targets.cluster.live import IN_ONE_CALL, Refused, Sent, find, try_out

pytestmark = pytest.mark.anyio

PROGRAM = """#!{python}
import json, os, pathlib, sys
words, home = sys.argv[1:], pathlib.Path({home!r})
items = json.load(sys.stdin)["items"]
with open(home / "calls", "a") as calls:
    calls.write(json.dumps([words, len(items)]) + chr(10))
namespace = words[words.index("--namespace") + 1]
kinds = dict.fromkeys((i["kind"], i["apiVersion"]) for i in items if i["kind"].startswith("Unknown"))
print("Warning: [{{ something", file=sys.stderr)
if (home / "down").exists():
    sys.exit("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?")
if kinds:
    sys.exit(chr(10).join(f'no matches for kind "{{k}}" in version "{{v}}"' for k, v in kinds))
if any(i["metadata"]["name"].startswith("refused") for i in items):
    sys.exit('Error from server (Forbidden): error when creating "STDIN": secrets "x" is forbidden')
there = [i for i in items if not i["metadata"]["name"].startswith("missing")]
for item in there:
    if not item["kind"].startswith("Cluster"):
        item["metadata"].setdefault("namespace", namespace)
    item["seen"] = "x" * item.get("size", 0)
if "get" in words and not there:
    sys.exit(0)
print(json.dumps(there[0] if len(there) == 1 else {{"kind": "List", "items": there}}))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(PROGRAM.format(python=sys.executable, home=str(tmp_path)))
    program.chmod(0o755)
    return Kubectl(str(program), Cluster(context="there"), {"PATH": "/usr/bin:/bin"})


def calls(kubectl: Kubectl) -> list[tuple[list[str], int]]:
    text = Path(kubectl.program).with_name("calls").read_text()
    return [json.loads(line) for line in text.splitlines()]


def one(name: str, kind: str = "ConfigMap", namespace: str | None = None, **more: Any) -> Sent:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return Sent({"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}, "default")


def names(answers: list[Any]) -> list[Any]:
    return [answer["metadata"]["name"] if isinstance(answer, dict) else answer for answer in answers]


async def test_each_answer_stands_in_the_place_of_its_question(kubectl: Kubectl) -> None:
    asked = [one("a"), one("missing-b"), one("c", namespace="other"), one("d", kind="ClusterRole")]
    answers = await find(kubectl, asked)
    assert names(answers) == ["a", None, "c", "d"]
    assert sorted(count for _, count in calls(kubectl)) == [1, 3], "one call for each namespace"
    assert names(await find(kubectl, [one("missing-a")])) == [None]
    assert names(await find(kubectl, [])) == []


async def test_the_same_object_of_two_apps_is_answered_twice(kubectl: Kubectl) -> None:
    assert names(await find(kubectl, [one("a"), one("a")])) == ["a", "a"]


async def test_many_objects_go_in_few_calls(kubectl: Kubectl) -> None:
    count = 3 * IN_ONE_CALL + 1
    assert names(await find(kubectl, [one(f"n{n}") for n in range(count)])) == [f"n{n}" for n in range(count)]
    assert sorted(count for _, count in calls(kubectl)) == [1, *[IN_ONE_CALL] * 3]


async def test_what_is_refused_stands_alone_in_the_servers_words_and_all_else_is_answered(
    kubectl: Kubectl,
) -> None:
    asked = [one("a"), one("refused-b"), one("c"), one("d"), one("refused-e")]
    answers = await try_out(kubectl, asked)
    refused = Refused('(Forbidden): secrets "x" is forbidden')
    assert names(answers) == ["a", refused, "c", "d", refused]


async def test_of_a_kind_that_the_server_does_not_serve_there_is_nothing(kubectl: Kubectl) -> None:
    asked = [one("a"), one("b", kind="Unknown"), one("c", kind="UnknownToo"), one("d")]
    assert names(await find(kubectl, asked)) == ["a", None, None, "d"]
    assert len(calls(kubectl)) == 2


async def test_a_server_that_is_not_there_is_asked_once(kubectl: Kubectl) -> None:
    Path(kubectl.program).with_name("down").touch()
    with pytest.raises(ClusterUnreachable, match="was refused"):
        await find(kubectl, [one("a"), one("b"), one("c")])
    assert len(calls(kubectl)) == 1


async def test_a_line_of_any_length_comes_whole(kubectl: Kubectl) -> None:
    (answer,) = await find(kubectl, [one("a", size=300_000)])
    assert isinstance(answer, dict)
    assert len(answer["seen"]) == 300_000


async def test_a_dry_run_is_one_and_insists_as_helm(kubectl: Kubectl) -> None:
    await try_out(kubectl, [one("a")])
    ((words, _),) = calls(kubectl)
    assert words[:2] == ["--context", "there"]
    assert {"apply", "--dry-run=server", "--server-side", "--field-manager=helm", "--force-conflicts"} <= set(
        words
    )
