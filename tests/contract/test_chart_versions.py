"""Which version of a chart is taken, against Helm's own library on the same indexes; built with Go, so slow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from version_questions import build, helm_chooses, questions

from sbkube.fetch.errors import FetchError
from sbkube.fetch.versions import choose, newest_first


def chosen(versions: tuple[str, ...], wanted: str) -> str:
    try:
        return choose(newest_first(versions, str), str, wanted) or ""
    except FetchError:
        return ""


if shutil.which("go"):

    @pytest.mark.slow
    def test_of_ten_thousand_indexes_the_same_version_is_taken_as_by_helm(tmp_path: Path) -> None:
        program = build(tmp_path)
        assert program is not None
        asked = list(questions(10_000, seed=7))
        theirs = helm_chooses(asked, program)
        different = [
            (question, ours, helms)
            for question, helms in zip(asked, theirs, strict=True)
            if (ours := chosen(*question)) != helms
        ]
        assert different == []
        assert sum(map(bool, theirs)) > 4_000
