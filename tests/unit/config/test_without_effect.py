"""Fields that do nothing say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import sbkube
from sbkube.config.models import Settings
from sbkube.config.project import Project
from sbkube.config.without_effect import NOT_DONE, without_effect

Load = Callable[..., Project]

SOURCES = Path(sbkube.__file__).parent
OF_OTHERS = {
    "cluster": "a label, for people",
    "allowed_contexts": "guards clusters, which are refused",
}
"""Settings that need no notice though nothing reads them."""


def test_each_setting_without_effect_is_told_with_its_line(load: Load, folder: Path) -> None:
    values = {
        "timeout": "600",
        "execution_order": "phases_first",
        "rollback_scope": "app",
        "cleanup_metadata": "false",
    }
    lines = "".join(f"  {name}: {value}\n" for name, value in values.items())
    told = without_effect(load(config=f"settings:\n  on_failure: rollback\n{lines}apps: {{}}\n"))
    assert told[0].startswith(f"{folder}/config.yaml:2: `on_failure: rollback` stops the run as `stop` does")
    assert set(values) == set(NOT_DONE)
    for line, name in enumerate(values, 3):
        assert any(note.startswith(f"{folder}/config.yaml:{line}: `{name}` has no effect; ") for note in told)
    assert without_effect(load(config="settings: {on_failure: stop, max_workers: 3}\napps: {}\n")) == []


def test_the_version_of_a_chart_of_the_project_is_told_to_have_no_effect(load: Load) -> None:
    app = "{type: helm, chart: ./web, version: 1.2.3}"
    told = without_effect(load(config=f"apps:\n  a: {app}\n  b: {app}\n  c: {{type: noop}}\n"))
    assert len(told) == 1
    assert "config.yaml:2: `version` has no effect for a chart of the project" in told[0]
    assert told[0].endswith("(and in 1 more place)")


def test_no_setting_is_silently_without_effect() -> None:
    """Who adds a field that nothing reads, or reads one at last, is reminded of the notices."""
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py") if path.name != "without_effect.py")
    unread = {name for name in Settings.model_fields if not re.search(rf"settings\.{name}\b", text)}
    assert set(NOT_DONE) <= unread <= {*NOT_DONE, *OF_OTHERS}
