"""Which Helm is taken, and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sbkube.helm import select
from sbkube.helm.base import HelmMissing
from sbkube.helm.binary import BinaryHelm
from sbkube.helm.embedded import EmbeddedHelm
from sbkube.helm.fake import FakeHelm
from sbkube.helm.select import choose_helm


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "helm"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "find_spec", lambda _: None)


def test_the_embedded_one_is_preferred(program: Path) -> None:
    choice = choose_helm(None, {"PATH": str(program.parent)})
    assert isinstance(choice.helm, EmbeddedHelm)
    assert choice.reason == "embedded Helm: installed with `sbkube[helm]`"


@pytest.mark.usefixtures("without_library")
def test_without_it_the_one_on_the_given_path_is_taken(program: Path) -> None:
    choice = choose_helm(None, {"PATH": str(program.parent)})
    assert isinstance(choice.helm, BinaryHelm)
    assert choice.reason == f"{program}: helm-python-sdk is not installed"


@pytest.mark.usefixtures("without_library")
def test_with_neither_the_hint_names_both_ways_out() -> None:
    with pytest.raises(HelmMissing, match="no `helm` on PATH") as caught:
        choose_helm(None, {"PATH": "/nowhere"})
    assert caught.value.hint is not None
    assert "pip install 'sbkube[helm]'" in caught.value.hint
    assert "install helm" in caught.value.hint


@pytest.mark.usefixtures("without_library")
def test_the_embedded_one_is_not_replaced_when_it_was_asked_for(program: Path) -> None:
    with pytest.raises(HelmMissing, match="embedded Helm is not installed"):
        choose_helm("embedded", {"PATH": str(program.parent)})


def test_a_preference_wins(program: Path) -> None:
    assert isinstance(choose_helm("embedded", {"PATH": str(program.parent)}).helm, EmbeddedHelm)
    assert (
        choose_helm("binary", {"PATH": str(program.parent)}).reason
        == f"{program}: asked for by `--helm binary`"
    )
    assert choose_helm(str(program), {}).reason == f"{program}: asked for by `--helm`"


@pytest.mark.parametrize("preference", ["/no/such/helm", "embeded"])
def test_a_preference_that_is_nothing_is_refused(preference: str) -> None:
    with pytest.raises(HelmMissing, match=preference) as caught:
        choose_helm(preference, {})
    assert caught.value.hint is not None
    assert "`embedded`, `binary`" in caught.value.hint


def test_a_path_that_cannot_be_executed_is_refused(program: Path) -> None:
    program.chmod(0o644)
    with pytest.raises(HelmMissing, match="not an executable file"):
        choose_helm(str(program), {})


def test_choosing_loads_neither_the_library_nor_yaml() -> None:
    check = (
        "import sys; from sbkube.helm.select import choose_helm; choose_helm('embedded', {}); "
        "assert not {'helm_python', 'yaml', 'pydantic', 'rich'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_worker_imports_little() -> None:
    check = (
        "import sys; import sbkube.helm.worker; "
        "assert not {'anyio', 'asyncio', 'helm_python', 'yaml', 'pydantic', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_helm_that_a_program_hands_over_is_taken_as_it_is() -> None:
    own = FakeHelm()
    assert choose_helm(own, {"PATH": "/nowhere"}).helm is own
