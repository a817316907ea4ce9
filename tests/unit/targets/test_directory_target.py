from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from given import given

from sbkube.targets.base import Manifests, TargetUnwritable, UnsuitableTarget
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.hidden import HiddenFolders
from sbkube.targets.owned import APPS_FILE, AppsFileUnreadable, ForeignFolder, Owner
from sbkube.targets.swap import rename_pair, swap_folders
from sbkube.targets.trees import digest_tree

pytestmark = pytest.mark.anyio
OWNER = Owner("..", None)


def generation(number: int) -> Manifests:
    return Manifests(crds=f"c: {number}\n", manifests=f"m: {number}\n", hooks=f"h: {number}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rendered"


@pytest.fixture
async def target(root: Path) -> DirectoryTarget:
    return await started(root)


async def started(root: Path, **options: object) -> DirectoryTarget:
    target = DirectoryTarget(root, "./rendered", OWNER, **{"grace": 0.0} | options)  # type: ignore[arg-type]
    await target.start()
    return target


def content(root: Path) -> dict[str, str]:
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


def modes(paths: Iterable[Path]) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


def named(root: Path) -> list[str]:
    return list(json.loads((root / APPS_FILE).read_text())["apps"])


async def test_an_app_is_a_folder_with_a_file_for_each_text_that_has_documents(
    target: DirectoryTarget, root: Path
) -> None:
    deployed = await target.deploy(*given("web", Manifests(manifests="kind: Service\n", hooks="\n")))
    assert content(root / "web") == {"manifests.yaml": "kind: Service\n"}
    assert deployed.digest == digest_tree(root / "web")
    assert deployed.path == "./rendered/web"


async def test_an_app_without_documents_is_an_empty_folder_that_holds(
    target: DirectoryTarget, root: Path
) -> None:
    deployed = await target.deploy(*given("nothing", Manifests()))
    assert content(root / "nothing") == {}
    assert await target.holds("nothing", {"digest": deployed.digest})


async def test_modes_do_not_follow_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        await (await started(root)).deploy(*given("web", generation(1)))
    finally:
        os.umask(before)
    assert modes([root, root / "web"]) == {0o755}
    assert modes(root / name for name in [APPS_FILE, *content(root)]) == {0o644}


async def test_the_same_content_touches_nothing(target: DirectoryTarget, root: Path) -> None:
    def looks() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in [root, root / "web", *root.rglob("*.yaml"), root / APPS_FILE]
        }

    first = await target.deploy(*given("web", generation(1)))
    before = looks()
    assert await target.deploy(*given("web", generation(1))) == first
    assert looks() == before


async def test_a_new_content_replaces_the_whole_folder(target: DirectoryTarget, root: Path) -> None:
    await target.deploy(*given("web", generation(1)))
    (root / "web/stray.yaml").write_text("left by hand")
    await target.deploy(*given("web", Manifests(manifests="m: 2\n")))
    assert content(root / "web") == {"manifests.yaml": "m: 2\n"}


async def test_two_runs_of_one_input_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    for folder, apps in {"one": ["db", "web", "api"], "other": ["api", "db", "web"]}.items():
        target = await started(tmp_path / folder)
        for app in apps:
            await target.deploy(*given(app, generation(1)))
        await target.finish()
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "other")


async def test_it_holds_only_what_was_recorded(target: DirectoryTarget, root: Path) -> None:
    deployed = await target.deploy(*given("web", generation(1)))
    assert await target.holds("web", {"digest": deployed.digest})
    assert not await target.holds("api", {"digest": deployed.digest})
    (root / "web/manifests.yaml").write_text("edited by hand")
    assert not await target.holds("web", {"digest": deployed.digest})


async def test_it_tells_what_it_holds_before_it_was_started(target: DirectoryTarget, root: Path) -> None:
    deployed = await target.deploy(*given("web", generation(1)))
    assert await DirectoryTarget(root, "elsewhere", OWNER).holds("web", {"digest": deployed.digest})
    assert not await DirectoryTarget(root / "absent", "elsewhere", OWNER).holds(
        "web", {"digest": deployed.digest}
    )


async def test_what_cannot_be_read_is_not_held(target: DirectoryTarget) -> None:
    assert not await target.holds("a" * 300, {"digest": "digest"})


async def test_its_identity_is_as_the_user_wrote_it(target: DirectoryTarget, root: Path) -> None:
    assert target.identity == {"kind": "directory", "path": "./rendered"}
    assert str(root) not in json.dumps(target.identity)


# Whose folders they are


async def test_the_list_of_apps_is_sorted_and_written_only_when_it_changes(
    target: DirectoryTarget, root: Path
) -> None:
    for app in ["web", "api"]:
        await target.deploy(*given(app, generation(1)))
    assert named(root) == ["api", "web"]
    before = (root / APPS_FILE).stat()
    await target.deploy(*given("web", generation(2)))
    await (await started(root)).prune({"api", "web"})
    after = (root / APPS_FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
async def test_what_we_did_not_make_is_never_replaced(
    target: DirectoryTarget, root: Path, kind: str, known: bool
) -> None:
    (root / "mine").mkdir()
    (root / "mine/notes.txt").write_text("by hand")
    if kind == "folder":
        app = "mine"
    else:
        app = "web"
        if known:  # it was ours, then somebody put something else there
            await target.deploy(*given("web", generation(1)))
            shutil.rmtree(root / "web")
        (root / "web").write_text("by hand") if kind == "file" else (root / "web").symlink_to("mine")
    before = digest_tree(root)
    with pytest.raises(ForeignFolder, match=f"app '{app}' would replace") as refusal:
        await target.deploy(*given(app, generation(2)))
    assert refusal.value.hint is not None
    assert digest_tree(root) == before


async def test_prune_removes_our_folders_and_no_others(target: DirectoryTarget, root: Path) -> None:
    for app in ["api", "db", "lost", "swapped", "web"]:
        await target.deploy(*given(app, generation(1)))
    (root / "foreign").mkdir()
    shutil.rmtree(root / "lost")
    shutil.rmtree(root / "swapped")
    (root / "swapped").symlink_to("foreign")
    assert await target.prune({"web", "later"}) == ["api", "db"]
    await target.finish()
    assert sorted(os.listdir(root)) == [APPS_FILE, "foreign", "swapped", "web"]
    assert named(root) == ["web"]
    assert await target.prune({"web"}) == []


async def test_a_name_without_a_folder_is_forgotten_at_the_start(root: Path) -> None:
    """What a crash between naming the app and showing its folder leaves."""
    await (await started(root)).deploy(*given("web", generation(1)))
    shutil.rmtree(root / "web")
    target = await started(root)
    assert named(root) == []
    (root / "web").mkdir()
    assert await target.prune(set()) == []
    assert (root / "web").is_dir()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("<<<<<<< HEAD\n", "is not JSON"),
        ("[]", "names no format"),
        ('{"format": 3, "apps": {}}', "has format 3, this sbkube writes 2"),
        ('{"format": 1, "apps": [1]}', "has no list of apps"),
        ('{"format": 2, "apps": ["web"]}', "does not say whose the apps are"),
        ('{"format": 2, "apps": {"web": {"profile": null}}}', "does not say whose 'web' is"),
        ('{"format": 2, "apps": {"web": {"project": "..", "profile": 1}}}', "does not say whose 'web' is"),
    ],
)
async def test_a_list_of_apps_that_we_did_not_write_is_refused_and_kept(
    target: DirectoryTarget, root: Path, text: str, reason: str
) -> None:
    await target.deploy(*given("web", generation(1)))
    (root / APPS_FILE).write_text(text)
    before = digest_tree(root)
    with pytest.raises(AppsFileUnreadable, match=reason) as refusal:
        await DirectoryTarget(root, "it", OWNER).start()
    assert refusal.value.hint is not None
    assert digest_tree(root) == before


async def test_an_app_cannot_leave_the_target_by_its_name(target: DirectoryTarget, root: Path) -> None:
    for app in ["../out", "..", "data/redis", APPS_FILE]:
        await target.deploy(*given(app, generation(1)))
    assert os.listdir(root.parent) == [root.name]
    folders = ["%2E.", "%2E.%2Fout", "%2Esbkube-apps.json", "data%2Fredis"]
    assert sorted(set(os.listdir(root)) - {APPS_FILE}) == folders
    assert await target.prune(set()) == sorted(["..", "../out", APPS_FILE, "data/redis"])


# Many at once


async def test_sixty_apps_are_deployed_at_once_and_each_is_named_before_it_is_seen(
    target: DirectoryTarget, root: Path
) -> None:
    apps = [f"app-{number}" for number in range(60)]
    orphans: set[str] = set()

    def look(over: threading.Event) -> None:
        while not over.is_set():
            seen = {name for name in os.listdir(root) if not name.startswith(".")}
            orphans.update(seen - set(named(root) if seen else []))

    over = threading.Event()
    async with anyio.create_task_group() as watch:
        watch.start_soon(to_thread.run_sync, look, over)
        async with until(over), anyio.create_task_group() as deploys:
            for app in apps:
                deploys.start_soon(target.deploy, *given(app, generation(1)))
    assert orphans == set()
    assert named(root) == sorted(apps)
    assert sorted(os.listdir(root)) == sorted([APPS_FILE, *apps])
    assert {digest_tree(root / app) for app in apps} == {digest_tree(root / "app-0")}


@asynccontextmanager
async def until(over: threading.Event) -> AsyncIterator[None]:
    try:
        yield
    finally:
        over.set()


def readings(folder: Path, over: threading.Event) -> Iterator[list[str]]:
    """What a reader that opens the folder, lists it and reads each file in it finds."""
    while not over.is_set():
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield [read(opened, name) for name in sorted(os.listdir(opened))]
        finally:
            os.close(opened)


def read(folder: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 100).decode()
    finally:
        os.close(file)


async def test_a_reader_never_finds_an_app_missing_empty_or_mixed(root: Path) -> None:
    target = await started(root, grace=30.0)
    apps = ["api", "db", "web"]
    for app in apps:
        await target.deploy(*given(app, generation(0)))
    over = threading.Event()
    seen: dict[str, set[int]] = {app: set() for app in apps}

    def reader(app: str) -> None:
        for texts in readings(root / app, over):
            number = int(texts[0].split()[1])
            assert texts == [f"c: {number}\n", f"h: {number}\n", f"m: {number}\n"]
            seen[app].add(number)

    async with anyio.create_task_group() as watch:
        for app in apps:
            watch.start_soon(to_thread.run_sync, reader, app)
        async with until(over):
            for number in range(1, 150):
                async with anyio.create_task_group() as deploys:
                    for app in apps:
                        deploys.start_soon(target.deploy, *given(app, generation(number)))
    assert all(len(numbers) > 1 for numbers in seen.values())


@pytest.mark.parametrize("swap", [swap_folders, rename_pair])
async def test_a_reader_that_has_a_folder_open_keeps_it_whole_until_the_target_has_finished(
    root: Path, swap: object
) -> None:
    target = await started(root, grace=30.0, swap=swap)
    await target.deploy(*given("web", generation(1)))
    await target.deploy(*given("old", generation(1)))
    opened = [os.open(root / app, os.O_RDONLY | os.O_DIRECTORY) for app in ("web", "old")]
    await target.deploy(*given("web", generation(2)))
    assert await target.prune({"web"}) == ["old"]
    assert [sorted(os.listdir(fd)) for fd in opened] == [["crds.yaml", "hooks.yaml", "manifests.yaml"]] * 2
    assert [read(fd, "crds.yaml") for fd in opened] == ["c: 1\n", "c: 1\n"]
    for fd in opened:
        os.close(fd)


@pytest.mark.parametrize("swap", [swap_folders, rename_pair])
async def test_nothing_hidden_is_left_when_the_target_has_finished(root: Path, swap: object) -> None:
    target = await started(root, grace=0.01, swap=swap)
    for number in range(3):
        await target.deploy(*given("web", generation(number)))
        await target.deploy(*given("api", generation(number)))
    await target.prune({"web"})
    await target.finish()
    assert sorted(os.listdir(root)) == [APPS_FILE, "web"]
    assert content(root / "web")["crds.yaml"] == "c: 2\n"


async def test_a_target_that_finishes_long_after_its_last_deploy_has_nothing_to_wait_for(root: Path) -> None:
    target = await started(root, grace=0.05)
    for number in range(2):
        await target.deploy(*given("web", generation(number)))
    await anyio.sleep(0.1)
    await target.finish()
    assert sorted(os.listdir(root)) == [APPS_FILE, "web"]


async def test_a_deploy_that_is_cancelled_has_put_its_folder_in_place_or_not_begun(root: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(new: Path, place: Path, aside: Path) -> None:
        inside.set()
        assert go_on.wait(30)
        swap_folders(new, place, aside)

    target = await started(root, swap=slow)
    await target.deploy(*given("web", generation(1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(target.deploy, *given("web", generation(2)))
        await to_thread.run_sync(inside.wait)
        tasks.cancel_scope.cancel()
        go_on.set()
    assert content(root / "web") == content_of(generation(2))
    await (await started(root)).finish()
    assert sorted(os.listdir(root)) == [APPS_FILE, "web"]


def content_of(manifests: Manifests) -> dict[str, str]:
    return {
        "crds.yaml": manifests.crds,
        "manifests.yaml": manifests.manifests,
        "hooks.yaml": manifests.hooks,
    }


# Crashes

CRASH = """
import os, sys
from pathlib import Path
import anyio
from sbkube.targets.base import Deployment, Manifests
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner
from sbkube.targets.swap import exchange

root, way, renames = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def dies(new, place, aside):
    steps = [(new, place)] if way == "exchange" else [(place, aside), (new, place)]
    for number, (one, other) in enumerate(steps):
        if number == renames:
            os._exit(9)
        exchange(one, other) if way == "exchange" else os.rename(one, other)
    os._exit(9)

async def unheard(line):
    pass

async def main():
    target = DirectoryTarget(root, "it", Owner(".."), swap=dies)
    await target.start()
    await target.deploy(Deployment("web", "web", "default", Manifests(crds="c: 2\\n", manifests="m: 2\\n", hooks="h: 2\\n")), unheard)

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("way", "renames", "left"),
    [("exchange", 0, 1), ("exchange", 1, 2), ("pair", 0, 1), ("pair", 1, 1), ("pair", 2, 2)],
)
async def test_a_crash_while_swapping_is_mended_by_the_next_start(
    target: DirectoryTarget, root: Path, way: str, renames: int, left: int
) -> None:
    await target.deploy(*given("api", generation(1)))
    await target.deploy(*given("web", generation(1)))
    crash = [sys.executable, "-c", CRASH, str(root), way, str(renames)]
    assert (await anyio.run_process(crash, check=False)).returncode == 9
    assert any(name.startswith(".sbkube-") and name != APPS_FILE for name in os.listdir(root))
    target = await started(root)
    assert sorted(os.listdir(root)) == [APPS_FILE, "api", "web"]
    assert content(root / "web") == content_of(generation(left))
    await target.deploy(*given("web", generation(3)))
    assert content(root / "web") == content_of(generation(3))


async def test_of_several_folders_put_aside_the_last_one_comes_back(root: Path) -> None:
    target, hidden = await started(root, swap=rename_pair, grace=30.0), HiddenFolders(root, OWNER)
    for number in range(12):
        await target.deploy(*given("web", generation(number)))
    aside = [hidden.fresh("old", "web") for _ in range(1000)]
    os.rename(root / "web", aside[-1])
    await started(root)
    assert content(root / "web") == content_of(generation(11))


async def test_a_pruned_folder_does_not_come_back_after_a_crash(root: Path) -> None:
    target = await started(root, grace=30.0)
    await target.deploy(*given("web", generation(1)))
    await target.prune(set())
    await started(root)
    assert os.listdir(root) == [APPS_FILE]


async def test_hidden_files_of_others_are_left_alone(target: DirectoryTarget, root: Path) -> None:
    ours = HiddenFolders(root, OWNER).fresh("new", "web").name
    others = HiddenFolders(root, Owner("../other")).fresh("gone", "web").name
    for name in [
        ".git",
        ".sbkube-new",
        ".sbkube-new.web",
        ours.replace("new", "notes"),
        f"{ours}.bak",
        others,
    ]:
        (root / name).mkdir()
    before = sorted(os.listdir(root))
    await started(root)
    assert sorted(os.listdir(root)) == before


# Places that do not do


async def test_the_folder_and_those_above_it_are_made(tmp_path: Path) -> None:
    await (await started(tmp_path / "a/b/c")).deploy(*given("web", generation(1)))
    assert (tmp_path / "a/b/c/web").is_dir()


async def test_a_file_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsuitableTarget, match=r"`.*/file` cannot be the target: it is a file"):
        await started(tmp_path / "file")


@pytest.mark.parametrize("inside", ["", "out", "a/../out"])
async def test_the_state_folder_is_no_target(tmp_path: Path, inside: str) -> None:
    for options in ({}, {"state_folder": tmp_path / ".sbkube"}):
        with pytest.raises(UnsuitableTarget, match="is inside the state folder"):
            await started(tmp_path / ".sbkube" / inside, **options)
    with pytest.raises(UnsuitableTarget, match="is inside the state folder"):
        await started(tmp_path / "state" / inside, state_folder=tmp_path / "state")
    assert os.listdir(tmp_path) == []


async def test_the_state_folder_may_be_inside_the_target(tmp_path: Path) -> None:
    await started(tmp_path, state_folder=tmp_path / ".sbkube")


async def test_a_place_that_cannot_be_written_is_named_at_the_start() -> None:
    with pytest.raises(TargetUnwritable, match=r"cannot write `/proc/sbkube-target`: ") as refusal:
        await started(Path("/proc/sbkube-target"))
    assert refusal.value.hint is not None


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a kilobyte; writes fail as they do on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_disk_that_takes_no_more_leaves_all_as_it_was(target: DirectoryTarget, root: Path) -> None:
    await target.deploy(*given("web", generation(1)))
    before = digest_tree(root)
    for app in ["web", "api"]:
        with full_disk(), pytest.raises(TargetUnwritable, match=f"cannot write `.*{app}.*`: File too large"):
            await target.deploy(*given(app, Manifests(crds="c: 2\n", manifests="m: 2\n" * 1000)))
    assert digest_tree(root) == before


async def test_a_list_of_apps_that_cannot_be_written_shows_no_folder(
    target: DirectoryTarget, root: Path
) -> None:
    (root / f"{APPS_FILE}.new").mkdir()
    with pytest.raises(TargetUnwritable, match="Is a directory"):
        await target.deploy(*given("web", generation(1)))
    assert os.listdir(root) == [f"{APPS_FILE}.new"]
    (root / f"{APPS_FILE}.new").rmdir()
    await target.deploy(*given("web", generation(1)))
    assert named(root) == ["web"]
