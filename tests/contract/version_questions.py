"""Random indexes and constraints, and which version the Helm that is written in Go takes.

`python tests/contract/version_questions.py 500` writes anew what the tests compare with where there is no Go.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MODULE = Path(__file__).with_name("modules") / "chartversions"
RECORDED = Path(__file__).parents[1] / "unit" / "fetch" / "chosen_versions.json"
SEED = 20_261_124


class Question(NamedTuple):
    """Versions as they stand in an index, and what an app asks for."""

    versions: tuple[str, ...]
    wanted: str


def questions(count: int, seed: int = SEED) -> Iterator[Question]:
    chance = random.Random(seed)
    for _ in range(count):
        # Go sorts up to twelve in a stable way; of more, which of two equal ones comes first means nothing.
        versions = [_version(chance) for _ in range(chance.randint(1, 12))]
        yield Question(tuple(versions), _wanted(chance, versions))


def _number(chance: random.Random) -> str:
    return str(chance.choice([0, 0, 1, 1, 1, 2, 2, 3, 10]))


_PRE = (
    "alpha",
    "beta",
    "rc",
    "0",
    "1",
    "2",
    "10",
    "x",
    "alpha.1",
    "rc.1",
    "rc.2",
    "rc.10",
    "beta-x",
    "1a",
    "99999999999999999999",
)


def _version(chance: random.Random) -> str:
    text = ".".join(_number(chance) for _ in range(chance.choice([3, 3, 3, 3, 2, 1])))
    if chance.random() < 0.1:
        text = f"v{text}"
    if chance.random() < 0.3:
        text += f"-{chance.choice(_PRE)}"
    if chance.random() < 0.1:
        text += f"+{chance.choice(['build', '1', 'b.2'])}"
    return (
        chance.choice(["01.2.3", "1.2.3.4", "latest", "1.2.3-01", "", "1..2", "1.2.3-"])
        if chance.random() < 0.03
        else text
    )


def _bound(chance: random.Random) -> str:
    parts = [
        _number(chance) if chance.random() < 0.8 else chance.choice("xX*")
        for _ in range(chance.randint(1, 3))
    ]
    operator = chance.choice(["", "", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^", "^", "~"])
    pre = f"-{chance.choice(_PRE)}" if chance.random() < 0.2 else ""
    build = "+b" if chance.random() < 0.03 else ""
    leading = "v" if chance.random() < 0.05 else ""
    return f"{operator}{chance.choice(['', '', '', ' '])}{leading}{'.'.join(parts)}{pre}{build}"


def _wanted(chance: random.Random, versions: list[str]) -> str:
    kind = chance.random()
    if kind < 0.05:
        return ""
    if kind < 0.12:
        return chance.choice(versions)
    if kind < 0.16:
        return chance.choice(
            [
                "*",
                "x",
                ">0.0.0-0",
                "^*",
                "~*",
                "!=*",
                ">x",
                "<=*",
                "1.x.x",
                "nope",
                "1.2.3.4",
                "||",
                "1|2",
                ">",
                "1 ,, 2",
                ",1",
                "1,",
                " 1 ",
            ]
        )
    if kind < 0.26:
        return f"{_version(chance)} - {_version(chance)}"
    alternatives = []
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        glue = chance.choice([" ", ", ", ",", " , ", "  "])
        alternatives.append(glue.join(_bound(chance) for _ in range(chance.choice([1, 1, 1, 2, 3]))))
    return chance.choice([" || ", "||"]).join(alternatives)


def helm_chooses(asked: Iterable[Question], program: Path) -> list[str]:
    """What Helm takes, in one process; "" for nothing."""
    lines = "".join(json.dumps(question._asdict()) + "\n" for question in asked)
    ended = subprocess.run([program], input=lines, capture_output=True, text=True, check=True, timeout=600)
    return [json.loads(line)["chosen"] for line in ended.stdout.splitlines()]


def build(folder: Path) -> Path | None:
    """The program; None where there is no Go."""
    if (go := shutil.which("go")) is None:
        return None
    program = folder / "chartversions"
    env = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=MODULE, env=env, check=True, capture_output=True
    )
    return program


def record(count: int, program: Path) -> None:
    asked = list(questions(count))
    lines = [
        json.dumps([q.versions, q.wanted, chosen])
        for q, chosen in zip(asked, helm_chooses(asked, program), strict=True)
    ]
    RECORDED.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        if (helm := build(Path(made))) is not None:
            record(int(sys.argv[1]), helm)
