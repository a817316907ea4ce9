"""What the engine tells is told to a program: it knows of no command line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sbkube.engine

SOURCES = sorted(Path(sbkube.engine.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_error_of_the_engine_names_a_command_or_its_flags(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            told = [word.value for word in node.keywords if word.arg == "hint"] + list(node.args)
            words = [part.value for text in told for part in ast.walk(text) if isinstance(part, ast.Constant)]
            assert not [
                word for word in words if isinstance(word, str) and ("--" in word or "`sbkube" in word)
            ]
