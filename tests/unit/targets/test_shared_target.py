"""One folder as the target of several projects and profiles, one after the other and at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from given import given

from sbkube.targets.base import Manifests, UnsuitableTarget
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.hidden import HiddenFolders
from sbkube.targets.lock import TargetBusy, holding
from sbkube.targets.owned import APPS_FILE, AnotherProjectsApp, Owner
from sbkube.targets.swap import rename_pair
from sbkube.targets.trees import digest_tree

pytestmark = pytest.mark.anyio

SHOP, SHOP_PROD, BLOG = Owner("../shop"), Owner("../shop", "prod"), Owner("../blog")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rendered"


async def started(root: Path, owner: Owner, **options: object) -> DirectoryTarget:
    target = DirectoryTarget(root, "./rendered", owner, **{"grace": 0.0} | options)  # type: ignore[arg-type]
    await target.start()
    return target


def manifests(text: str) -> Manifests:
    return Manifests(manifests=f"{text}\n")


def owners(root: Path) -> dict[str, Owner | None]:
    told = json.loads((root / APPS_FILE).read_text())["apps"]
    return {app: Owner(**owner) if owner else None for app, owner in told.items()}


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != APPS_FILE)


# Whose an app is


async def test_the_list_has_a_line_for_each_app_in_order(root: Path) -> None:
    for owner, app in [(SHOP, "web"), (BLOG, "posts"), (SHOP_PROD, "db")]:
        await (await started(root, owner)).deploy(*given(app, manifests("m: 1")))
    assert (root / APPS_FILE).read_text() == (
        "{\n"
        '  "format": 2,\n'
        '  "made_by": "sbkube",\n'
        '  "apps": {\n'
        '    "db": {"project": "../shop", "profile": "prod"},\n'
        '    "posts": {"project": "../blog", "profile": null},\n'
        '    "web": {"project": "../shop", "profile": null}\n'
        "  }\n"
        "}\n"
    )
    await (await started(root, SHOP)).prune(set())
    await (await started(root, SHOP_PROD)).prune(set())
    await (await started(root, BLOG)).prune(set())
    assert (root / APPS_FILE).read_text() == '{\n  "format": 2,\n  "made_by": "sbkube",\n  "apps": {}\n}\n'


def test_an_owner_is_the_same_wherever_target_and_project_lie_so_to_each_other(tmp_path: Path) -> None:
    for machine in ("here", "there"):
        home = tmp_path / machine
        (home / "real/shop").mkdir(parents=True)
        (home / "link").symlink_to("real")
        assert Owner.of(home / "out/dev", home / "link/shop", None) == Owner("../../real/shop")
        assert Owner.of(home / "link/shop/out", home / "real/shop", "prod") == Owner("..", "prod")
        assert Owner.of(home / "real/shop", home / "link/shop", None) == Owner(".")


async def test_each_project_and_profile_prunes_its_own_apps_only(root: Path) -> None:
    for owner, apps in {SHOP: ["web", "old"], SHOP_PROD: ["web-prod"], BLOG: ["posts"]}.items():
        target = await started(root, owner)
        for app in apps:
            await target.deploy(*given(app, manifests("m: 1")))
    target = await started(root, SHOP)
    assert await target.would_prune({"web"}) == ["old"]
    assert await target.prune({"web"}) == ["old"]
    assert folders(root) == ["posts", "web", "web-prod"]
    assert owners(root) == {"posts": BLOG, "web": SHOP, "web-prod": SHOP_PROD}
    assert await (await started(root, BLOG)).prune({"other"}) == ["posts"]


@pytest.mark.parametrize("text", ["m: 1", "m: 2"])
async def test_a_deploy_takes_over_what_another_profile_of_the_project_deployed(
    root: Path, text: str
) -> None:
    dev, prod = await started(root, SHOP), await started(root, SHOP_PROD)
    await dev.deploy(*given("web", manifests("m: 1")))
    await prod.deploy(*given("web", manifests(text)))
    assert (root / "web/manifests.yaml").read_text() == f"{text}\n"
    assert owners(root) == {"web": SHOP_PROD}
    assert await dev.prune(set()) == []
    assert await prod.prune(set()) == ["web"]


@pytest.mark.parametrize("left", ["its folder", "the same content", "only the name"])
async def test_what_another_project_deployed_is_refused_before_anything_is_written(
    root: Path, left: str
) -> None:
    await (await started(root, SHOP)).deploy(*given("web", manifests("m: 1")))
    blog = await started(root, BLOG)
    if left == "only the name":
        shutil.rmtree(root / "web")
    before = digest_tree(root)
    os.utime(root, (0, 0))
    with pytest.raises(AnotherProjectsApp) as refusal:
        await blog.deploy(*given("web", manifests("m: 1" if left == "the same content" else "m: 2")))
    told = f"app 'web' would replace `{root / 'web'}`, which belongs to the project `{root.parent / 'shop'}`"
    assert str(refusal.value) == told
    assert "--accept-target-change" in str(refusal.value.hint)
    assert digest_tree(root) == before
    assert os.stat(root).st_mtime == 0, "something was there for a while"


async def test_a_run_that_accepts_it_takes_over_what_another_project_deployed(root: Path) -> None:
    shop = await started(root, SHOP)
    for app in ("web", "db"):
        await shop.deploy(*given(app, manifests("m: 1")))
    blog = await started(root, BLOG, takes_over=True)
    await blog.deploy(*given("web", manifests("m: 2")))
    assert owners(root) == {"db": SHOP, "web": BLOG}
    with pytest.raises(AnotherProjectsApp, match=r"belongs to the project `.*/blog`"):
        await shop.deploy(*given("web", manifests("m: 3")))  # it has read the list before
    assert (root / "web/manifests.yaml").read_text() == "m: 2\n"
    assert await shop.prune(set()) == ["db"]
    assert await (await started(root, BLOG)).prune({"posts"}) == ["web"]


async def test_apps_of_an_owner_that_is_not_known_are_replaced_and_never_pruned(root: Path) -> None:
    shop = await started(root, SHOP)
    for app in ("api", "db", "web"):
        await shop.deploy(*given(app, manifests("m: 1")))
    (root / APPS_FILE).write_text('{"format": 1, "made_by": "sbkube", "apps": ["api", "db", "web"]}\n')
    for owner in (SHOP, BLOG):
        assert await (await started(root, owner)).prune(set()) == []
    await (await started(root, BLOG)).deploy(*given("web", manifests("m: 2")))
    await (await started(root, SHOP)).deploy(*given("db", manifests("m: 1")))
    assert owners(root) == {"api": None, "db": SHOP, "web": BLOG}
    assert await (await started(root, SHOP)).prune(set()) == ["db"]
    assert folders(root) == ["api", "web"]


# What would be pruned


async def test_to_say_what_would_be_pruned_writes_nothing(root: Path) -> None:
    target = DirectoryTarget(root, "./rendered", SHOP)
    assert await target.would_prune({"web"}) == []
    assert root.name not in os.listdir(root.parent)
    other = await started(root, SHOP)
    for app in ("web", "lost", "old"):
        await other.deploy(*given(app, manifests("m: 1")))
    shutil.rmtree(root / "lost")
    before = digest_tree(root)
    assert await target.would_prune({"web"}) == ["old"]
    assert digest_tree(root) == before


async def test_what_is_no_target_is_refused_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsuitableTarget):
        await DirectoryTarget(tmp_path / "file", "file", SHOP).would_prune({"web"})


# What a start leaves alone


async def test_a_start_does_not_forget_what_another_has_named_and_not_yet_shown(root: Path) -> None:
    for owner, app in [(SHOP, "web"), (SHOP_PROD, "db"), (BLOG, "posts")]:
        await (await started(root, owner)).deploy(*given(app, manifests("m: 1")))
        shutil.rmtree(root / app)
    await started(root, BLOG)
    assert owners(root) == {"db": SHOP_PROD, "web": SHOP}


async def test_hidden_folders_are_mended_by_their_owner_alone(root: Path) -> None:
    shop = await started(root, SHOP, swap=rename_pair)
    await shop.deploy(*given("web", manifests("m: 1")))
    hidden = HiddenFolders(root, SHOP)
    os.rename(root / "web", hidden.fresh("old", "web"))
    hidden.fresh("new", "web").mkdir()
    hidden.fresh("gone", "db").mkdir()
    hidden.fresh("new", "probe").mkdir()
    before = folders(root)
    for owner in (BLOG, SHOP_PROD):
        await started(root, owner)
        assert folders(root) == before
    await started(root, SHOP)
    assert folders(root) == ["web"]
    assert (root / "web/manifests.yaml").read_text() == "m: 1\n"


async def test_a_probe_that_a_crash_left_stops_no_later_start(root: Path) -> None:
    os.makedirs(HiddenFolders(root, SHOP).fresh("new", "probe"))
    await started(root, SHOP)
    assert folders(root) == []


async def test_a_folder_put_aside_does_not_come_back_to_an_app_that_another_project_took_over(
    root: Path,
) -> None:
    await (await started(root, SHOP)).deploy(*given("web", manifests("m: 1")))
    os.rename(root / "web", HiddenFolders(root, SHOP).fresh("old", "web"))
    await (await started(root, BLOG, takes_over=True)).deploy(*given("web", manifests("m: 2")))
    shutil.rmtree(root / "web")
    await started(root, SHOP)
    assert folders(root) == []


# At once

PARTNER = """
import sys
from pathlib import Path
import anyio
from sbkube.targets.base import Deployment, Manifests
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner

async def unheard(line):
    pass

async def main():
    target = DirectoryTarget(Path(sys.argv[1]), "it", Owner(sys.argv[2]), grace=30.0)
    for number, line in enumerate(sys.stdin):
        command, *apps = line.split()
        if command == "start":
            await target.start()
        elif command == "prune":
            await target.prune(set(apps))
        for app in apps if command == "deploy" else ():
            texts = [f"{name}: {number}\\n" for name in ("c", "m", "h")]
            await target.deploy(Deployment(app, app, "default", Manifests(*texts)), unheard)
        print(command, flush=True)

anyio.run(main)
"""


class Partner:
    """A process that uses the target and does as it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def wait(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def do(self, *words: str) -> None:
        self.tell(*words)
        assert self.wait() == words[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def partner(root: Path, owner: Owner) -> Iterator[Partner]:
    command = [sys.executable, "-c", PARTNER, str(root), owner.project]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Partner(process)
        finally:
            process.kill()


def test_what_one_process_names_is_not_lost_by_another_that_read_the_list_before(root: Path) -> None:
    with partner(root, SHOP) as shop, partner(root, BLOG) as blog:
        shop.do("start")
        blog.do("start")
        shop.do("deploy", "web", "old")
        blog.do("deploy", "posts", "drafts")
        shop.do("deploy", "db")
        blog.do("prune", "posts")
        shop.do("prune", "web", "db")
    assert owners(root) == {"db": SHOP, "posts": BLOG, "web": SHOP}


def test_two_processes_that_name_and_prune_apps_at_once_lose_none(root: Path) -> None:
    apps = {owner: [f"{Path(owner.project).name}-{number}" for number in range(40)] for owner in (SHOP, BLOG)}
    with partner(root, SHOP) as shop, partner(root, BLOG) as blog:
        both = {SHOP: shop, BLOG: blog}
        for owner, process in both.items():
            process.tell("start")
            for app in apps[owner]:
                process.tell("deploy", app, "in-" + app)
                process.tell("prune", *apps[owner])
        for owner, process in both.items():
            assert [process.wait() for _ in range(81)] == ["start", *["deploy", "prune"] * 40], owner
    assert owners(root) == {app: owner for owner in apps for app in apps[owner]}
    assert [name for name in folders(root) if not name.startswith(".")] == sorted(owners(root))


def test_a_start_leaves_another_process_and_its_readers_what_they_use(root: Path) -> None:
    with partner(root, SHOP) as shop, partner(root, BLOG) as blog:
        shop.do("start")
        shop.do("deploy", "web", "old")
        opened = [os.open(root / app, os.O_RDONLY | os.O_DIRECTORY) for app in ("web", "old")]
        shop.do("deploy", "web")
        shop.do("prune", "web")
        before = folders(root)
        assert len(before) == 3  # web, and what was replaced and pruned, for who has it open
        blog.do("start")
        blog.do("deploy", "posts")
        assert folders(root) == sorted([*before, "posts"])
        whole = ["crds.yaml", "hooks.yaml", "manifests.yaml"]
        assert [sorted(os.listdir(descriptor)) for descriptor in opened] == [whole, whole]
        for descriptor in opened:
            os.close(descriptor)
        shop.kill()
    with partner(root, BLOG) as blog, partner(root, SHOP) as shop:
        blog.do("start")
        assert [name for name in folders(root) if name not in before] == ["posts"]
        shop.do("start")
    assert folders(root) == ["posts", "web"]


def test_two_processes_may_start_again_and_again_at_once(root: Path) -> None:
    with partner(root, SHOP) as shop, partner(root, BLOG) as blog:
        for process in (shop, blog) * 20:
            process.tell("start")
        for process in (shop, blog) * 20:
            assert process.wait() == "start"
    assert folders(root) == []


def test_the_lock_lets_one_in_at_a_time_and_adds_nothing(root: Path) -> None:
    root.mkdir()
    waits = pytest.raises(TargetBusy, match="is held by another run: waited 0 s")
    with holding(root), waits as busy, holding(root, patience=0.0):
        pass
    assert busy.value.hint is not None
    with holding(root, patience=0.0):
        assert os.listdir(root) == []
