"""What a run works with, put together from a project."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from sbkube.apps.digesting import Unreadable, digest_all
from sbkube.apps.files import FileInput
from sbkube.apps.log import StepLog
from sbkube.choosing import Helms, TargetWishes, choose_target
from sbkube.config.loading import load_project
from sbkube.config.project import Project
from sbkube.errors import NotYet, Position
from sbkube.helm.base import HelmMissing
from sbkube.selecting import Asked
from sbkube.targets.base import Target
from sbkube.targets.cluster.kubeconfig import NoCluster
from sbkube.wiring import Workshop, log_path, state_folder

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def project(folder: Path, apps: str = "  a: {type: exec, commands: ['true']}\n", top: str = "") -> Project:
    (folder / "config.yaml").write_text(f"{top}apps:\n{apps}")
    return load_project(folder, environ={})


def workshop(own: Project, environ: dict[str, str] | None = None, helm: str | None = None) -> Workshop:
    state = own.folder / ".sbkube"
    helms = Helms(helm, environ or {})
    return Workshop(own, state, target_of(own, "out", state), environ or {}, helms)


def target_of(own: Project, named: str | None, state: Path) -> Target:
    return choose_target(own, TargetWishes(named), state, Helms(None, {}))


def test_the_state_lies_beside_the_config_unless_told_otherwise(tmp_path: Path) -> None:
    assert state_folder(tmp_path, None, {}) == tmp_path / ".sbkube"
    assert state_folder(tmp_path, None, {"SBKUBE_STATE_DIR": "x"}) == Path.cwd() / "x"
    assert state_folder(tmp_path, "/y", {"SBKUBE_STATE_DIR": "x"}) == Path("/y")
    assert state_folder(tmp_path, None, {"SBKUBE_STATE_DIR": ""}) == tmp_path / ".sbkube"


def test_one_folder_is_one_target_however_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = project(tmp_path, top="target: {directory: ./some/../out}\n")
    state = tmp_path / ".sbkube"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    named = [target_of(own, None, state), target_of(own, "out/", state)]
    monkeypatch.chdir(tmp_path / "below")
    named += [target_of(own, "../out", state), target_of(own, str(tmp_path / "out"), state)]
    assert [target.identity for target in named] == [{"kind": "directory", "path": "out"}] * 4


def test_without_a_kubeconfig_there_is_no_cluster_and_nothing_is_guessed(tmp_path: Path) -> None:
    own = project(tmp_path, top="target: cluster\n")
    with pytest.raises(NoCluster, match=r"there is no kubeconfig: .*config does not exist"):
        choose_target(own, TargetWishes(), tmp_path, Helms(None, {"HOME": str(tmp_path)}))


def test_helm_is_looked_for_only_if_an_app_needs_it(tmp_path: Path) -> None:
    workshop(project(tmp_path), helm="/nowhere").choose_helm()
    off = project(tmp_path, "  a: {type: helm, chart: ./x, enabled: false}\n")
    workshop(off, helm="/nowhere").choose_helm()
    with pytest.raises(HelmMissing):
        workshop(project(tmp_path, "  a: {type: helm, chart: ./x}\n"), helm="/nowhere").choose_helm()


KUBECONFIG = """\
contexts: [{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: c, user: u}}]
current-context: one
"""


@pytest.mark.parametrize(
    ("app", "refused"),
    [
        ("{type: yaml, manifests: [x], context: two}", True),
        ("{type: action, actions: [{path: x}], context: two}", True),
        ("{type: yaml, manifests: [x], context: one}", False),
        ("{type: yaml, manifests: [x], context: two, enabled: false}", False),
        ("{type: exec, commands: [x], context: two}", False),
    ],
)
def test_an_app_is_not_deployed_to_another_context_than_that_of_its_project(
    tmp_path: Path, app: str, refused: bool
) -> None:
    own = project(tmp_path, f"  a: {app}\n")
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    helms = Helms(None, {"KUBECONFIG": str(tmp_path / "kubeconfig")})
    told = r"config\.yaml:2: another context than the project's 'one' \('two' of app 'a'\)"
    with pytest.raises(NotYet, match=told) if refused else nullcontext():
        choose_target(own, TargetWishes("cluster"), tmp_path, helms)


async def test_planning_creates_nothing(tmp_path: Path) -> None:
    own = project(tmp_path, "  a: {type: exec, env: {T: {from_env: X}}, commands: ['true']}\n")
    planned = await workshop(own, {"X": "secret"}).plan(Asked(), None)
    assert list(planned.graph.steps) == ["a:deploy"]
    assert os.listdir(tmp_path) == ["config.yaml"]


async def test_the_digest_of_a_secret_depends_on_a_key_that_is_private_to_the_state(tmp_path: Path) -> None:
    own = project(tmp_path, "  a: {type: exec, env: {T: {from_env: X}}, commands: ['true']}\n")

    async def digest(value: str) -> Any:
        planned = await workshop(own, {"X": value}).plan(Asked(), None)
        return planned.stages[0].inputs["environment variable X"]

    (tmp_path / ".sbkube").mkdir()
    assert await workshop(own).keep_key()
    first = await digest("one")
    assert await digest("one") == first
    assert await digest("two") != first
    key = tmp_path / ".sbkube/key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not await workshop(own).keep_key()
    assert await digest("one") == first
    key.unlink()
    assert await digest("one") != first
    assert not key.exists()


async def test_a_key_of_the_wrong_size_is_replaced_by_one_that_is_private(tmp_path: Path) -> None:
    (tmp_path / ".sbkube").mkdir()
    key = tmp_path / ".sbkube/key"
    key.write_bytes(b"half of a k")
    key.chmod(0o644)
    before = os.umask(0)
    try:
        assert await workshop(project(tmp_path)).keep_key()
    finally:
        os.umask(before)
    assert (key.stat().st_size, stat.S_IMODE(key.stat().st_mode)) == (32, 0o600)
    assert not await workshop(project(tmp_path)).keep_key()
    assert os.listdir(key.parent) == ["key"]


async def test_a_key_that_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    (tmp_path / ".sbkube/.key.unfinished").mkdir(parents=True)
    key = tmp_path / ".sbkube/key"
    key.write_bytes(b"half of a k")
    with pytest.raises(IsADirectoryError):
        await workshop(project(tmp_path)).keep_key()
    assert key.read_bytes() == b"half of a k"


async def test_a_log_is_private_and_exists_from_its_first_line_on(tmp_path: Path) -> None:
    told: list[str] = []
    path = log_path(tmp_path, "a b", "deploy", 7, 2)
    assert path == tmp_path / "runs/000007/logs/a%20b.deploy.2.log"
    log = StepLog(path, told.append, lambda path, error: None)
    assert not path.exists()
    await log.write("one \udcff")
    assert not path.exists()
    await log.flush()
    assert path.read_text() == "one \\udcff\n"
    await log.write_error(NotYet("it", hint="wait"))
    await log.close()
    assert path.read_text() == "one \\udcff\nerror: it is not supported yet\nhint: wait\n"
    assert told == ["one \udcff"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_digests_are_of_files_and_folders_and_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("x")
    where = Position(tmp_path / "config.yaml", 1)
    paths = [tmp_path / "folder", tmp_path / "folder/file", tmp_path / "none", tmp_path / "folder/file/below"]
    files = [FileInput("file", path.name, path, where) for path in paths]
    digests = await digest_all([*files, FileInput("file", "x", None, where)])
    assert list(digests) == paths
    assert [digest is not None for digest in digests.values()] == [True, True, False, False]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Unreadable, match=r"cannot read .*loop"):
        await digest_all([FileInput("file", "loop", tmp_path / "loop", where)])
