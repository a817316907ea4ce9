from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from sbkube.config.loading import load_project
from sbkube.config.project import Project

Load = Callable[..., Project]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Deep enough that nothing above it belongs to a project."""
    path = tmp_path / "1/2/3/4/project"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def load(folder: Path) -> Load:
    """Writes files (`sources_dev` is `sources-dev.yaml`) and loads the project."""

    def written_and_loaded(*, files: dict[str, str] | None = None, **rest: Any) -> Project:
        options = {key: rest.pop(key) for key in ("profile", "config_file", "sources_file") if key in rest}
        environ = rest.pop("environ", {})
        texts = {f"{name.replace('_', '-')}.yaml": text for name, text in rest.items()} | (files or {})
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return load_project(folder, environ=environ, **options)

    return written_and_loaded
