"""Repositories on this machine's own servers: what is asked of them, what is taken, and what is said when they refuse."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from anyio import create_task_group
from fetch_bench import Bench, names, program

from sbkube.fetch.errors import AccessRefused, FetchError, NotKept, NotThere, Unreachable
from sbkube.fetch.git_errors import (
    AmbiguousCommit,
    GitAccessRefused,
    GitMissing,
    GitUnreachable,
    HostKeyUnknown,
    NoDefaultBranch,
    PathNotFound,
    RefNotFound,
    RepositoryNotFound,
)
from sbkube.fetch.git_tree import LfsMissing
from sbkube.fetch.locks import held
from servers.git import GitHttp, Repository, git_daemon, ssh_program
from servers.http import Server

pytestmark = pytest.mark.anyio


# Which commit


async def test_each_way_to_name_a_commit_finds_it(bench: Bench, repository: Repository) -> None:
    first = repository.commit({"a": "1"})
    repository.run("tag", "light")
    repository.run("tag", "--annotate", "--message=x", "v1.0.0")
    second = repository.commit({"a": "2"})
    repository.run("branch", "next")
    third = repository.commit({"a": "3"})
    for ref, branch, commit in [
        (None, None, third),
        (None, "next", second),
        ("next", None, second),
        ("next", "trunk", second),
        ("light", None, first),
        ("v1.0.0", None, first),
        ("refs/heads/next", None, second),
        ("HEAD", None, third),
        (first, None, first),
        (first[:10], None, first),
    ]:
        taken, _ = await bench.take(repository.url, ref, branch=branch)
        assert (taken / "a").read_text() == {first: "1", second: "2", third: "3"}[commit], (ref, branch)


async def test_a_tag_is_meant_before_a_branch_of_the_same_name(bench: Bench, repository: Repository) -> None:
    repository.commit({"a": "tag"})
    repository.run("tag", "same")
    repository.run("branch", "same")
    repository.run("checkout", "--quiet", "refs/heads/same")
    repository.commit({"a": "branch"})
    repository.run("branch", "--force", "same", "HEAD")
    taken, _ = await bench.take(repository.url, "same")
    assert (taken / "a").read_text() == "tag"
    taken, _ = await bench.take(repository.url, branch="same")
    assert (taken / "a").read_text() == "branch"


async def test_a_name_that_is_not_there_is_told_with_near_ones(bench: Bench, repository: Repository) -> None:
    repository.commit({"a": "1"})
    repository.run("tag", "v1.2.3")
    with pytest.raises(RefNotFound, match=r"has no branch or tag '1\.2\.3'") as caught:
        await bench.take(repository.url, "1.2.3")
    assert caught.value.hint == "it has: v1.2.3"
    with pytest.raises(RefNotFound, match="has no branch 'main'") as caught:
        await bench.take(repository.url, branch="main")
    assert caught.value.hint == "it has: trunk"
    with pytest.raises(RefNotFound, match="has no branch, tag or commit 'abcdef1'"):
        await bench.take(repository.url, "abcdef1")
    with pytest.raises(RefNotFound, match=r"has no commit '1{40}'"):
        await bench.take(repository.url, "1" * 40)
    assert not caught.value.transient


async def test_a_repository_without_a_default_branch_is_told_from_an_empty_one(
    bench: Bench, repository: Repository
) -> None:
    with pytest.raises(NoDefaultBranch, match="is empty"):
        await bench.take(repository.url)
    repository.commit({"a": "1"})
    repository.run("symbolic-ref", "HEAD", "refs/heads/gone")
    bench.anew()
    with pytest.raises(NoDefaultBranch, match="has no default branch") as caught:
        await bench.take(repository.url)
    assert caught.value.hint == "set `branch`; it has: trunk"


async def test_the_beginning_of_two_commits_names_neither(bench: Bench, repository: Repository) -> None:
    repository.commit({"a": "1"})
    tree = repository.run("write-tree")
    first_of = dict[str, str]()
    lines, mark = [], 0
    while True:  # ids of seven signs meet after some ten thousand
        mark += 1
        text = f"tree {tree}\nauthor x <x@x> {mark} +0000\ncommitter x <x@x> {mark} +0000\n\nx\n"
        id = hashlib.sha1(f"commit {len(text)}\0{text}".encode()).hexdigest()
        if id[:7] in first_of:
            lines = [first_of[id[:7]], text]
            break
        first_of[id[:7]] = text
    for number, text in enumerate(lines):
        (repository.folder / "object").write_text(text)
        made = repository.run("hash-object", "-t", "commit", "-w", "object")
        repository.run("branch", f"one-{number}", made)
    with pytest.raises(AmbiguousCommit, match=f"{made[:7]!r} is the beginning of more than one commit"):
        await bench.take(repository.url, made[:7])


async def test_a_commit_that_is_there_is_taken_without_asking_anybody(
    bench: Bench, repository: Repository
) -> None:
    commit = repository.commit({"a": "1"})
    await bench.take(repository.url, commit)
    repository.folder.rename(repository.folder.with_name("gone"))
    bench.anew()
    taken, _ = await bench.take(repository.url, commit)
    assert names(taken) == ["a"]


async def test_a_branch_that_moved_is_seen_by_the_next_run_and_only_by_that(
    bench: Bench, repository: Repository
) -> None:
    repository.commit({"a": "1"})
    await bench.take(repository.url)
    repository.commit({"a": "2"})
    taken, _ = await bench.take(repository.url)
    assert (taken / "a").read_text() == "1"
    bench.anew()
    taken, _ = await bench.take(repository.url)
    assert (taken / "a").read_text() == "2"


async def test_only_one_commit_of_a_long_history_is_fetched(bench: Bench, repository: Repository) -> None:
    for number in range(5):
        repository.commit({"a": str(number)})
    await bench.take(repository.url)
    (clone,) = bench.cache.glob("*/shallow")
    assert len(clone.read_text().split()) == 1


# What is taken


async def test_files_come_as_they_were_committed(bench: Bench, repository: Repository) -> None:
    odd = 'wäld "x"\t\\.yaml'
    (repository.folder / "run").write_text("#!/bin/sh\n")
    (repository.folder / "run").chmod(0o755)
    repository.commit(
        {
            ".gitattributes": "secret export-ignore\nversion export-subst\n",
            "secret": "1",
            "version": "$Format:%H$\n",
            odd: "2",
            "deep/er/file": b"\x00\xff\r\n",
        },
        links={"link": "deep/er"},
    )
    taken, told = await bench.take(repository.url)
    assert names(taken) == sorted([".gitattributes", "deep/er/file", "link", "run", "secret", "version", odd])
    assert (taken / "deep/er/file").read_bytes() == b"\x00\xff\r\n"
    assert (taken / "version").read_text() == "$Format:%H$\n"
    assert os.readlink(taken / "link") == "deep/er"
    assert os.access(taken / "run", os.X_OK)
    assert not os.access(taken / "version", os.X_OK)
    assert told.left_out == ()


async def test_links_that_lead_out_of_the_repository_are_left_out_and_named(
    bench: Bench, repository: Repository
) -> None:
    links = {
        "d/up": "../../../etc",
        "abs": "/etc/passwd",
        "d/in": "../a",
        "over": "d/up/passwd",
        "round": "round",
    }
    repository.commit({"a": "1", "d/b": "2"}, links=links)
    taken, told = await bench.take(repository.url)
    assert sorted(told.left_out) == ["abs", "d/up", "over"]
    assert names(taken) == ["a", "d/b", "d/in", "round"]


async def test_a_path_narrows_what_is_taken(bench: Bench, repository: Repository) -> None:
    commit = repository.commit({"charts/a/x": "1", "charts/ab/y": "2", "other": "3"})
    taken, _ = await bench.take(repository.url, path="charts/a")
    assert names(taken) == ["charts/a/x"]
    taken, _ = await bench.take(repository.url, path="charts/ab/y")
    assert names(taken) == ["charts/ab/y"]
    with pytest.raises(PathNotFound, match=f"has no 'chart/a' at commit {commit[:12]}") as caught:
        await bench.take(repository.url, path="chart/a")
    assert caught.value.hint == "it has: charts, other"


async def test_submodules_come_along_also_those_beside_the_repository(bench: Bench, tmp_path: Path) -> None:
    inner, lib, outer = (Repository(tmp_path / "served" / name) for name in ("inner", "lib", "outer"))
    inner.commit({"deepest": "1"})
    lib.commit({"l": "old"})
    lib.run("-c", "protocol.file.allow=always", "submodule", "add", "../inner", "inner")
    lib.commit({"l": "pinned"})
    outer.commit({"o": "1"})
    outer.run("-c", "protocol.file.allow=always", "submodule", "add", lib.url, "vendor/lib")
    outer.commit({})
    lib.commit({"l": "newer"})
    taken, _ = await bench.take(outer.url)
    assert names(taken) == [
        ".gitmodules",
        "o",
        "vendor/lib/.gitmodules",
        "vendor/lib/inner/deepest",
        "vendor/lib/l",
    ]
    assert (taken / "vendor/lib/l").read_text() == "pinned"
    taken, _ = await bench.take(outer.url, path="vendor/lib/inner")
    assert names(taken) == ["vendor/lib/inner/deepest"]


async def test_a_submodule_on_this_machine_is_refused_to_a_repository_from_elsewhere(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    lib = Repository(tmp_path / "served/lib")
    lib.commit({"l": "1"})
    repository.run("-c", "protocol.file.allow=always", "submodule", "add", lib.url, "lib")
    repository.commit({})
    with (
        GitHttp(tmp_path / "served").serving() as server,
        pytest.raises(FetchError, match="a repository from elsewhere names one of this machine"),
    ):
        await bench.take(f"{server.url}/shop")


async def test_what_lfs_keeps_elsewhere_takes_the_place_of_its_pointer(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 5\n"
    repository.commit({".gitattributes": "*.bin filter=lfs\n", "x.bin": pointer, "y.txt": "plain"})
    bench.env["PATH"] = _without("git-lfs", tmp_path / "only")
    bench.anew()
    with pytest.raises(LfsMissing, match=r"keeps 'x\.bin' in Git LFS, and `git-lfs` is not on PATH"):
        await bench.take(repository.url)
    lfs = tmp_path / "only/git-lfs"
    lfs.write_text("#!/bin/sh\ncat > /dev/null; printf 'large %s' \"$*\"\n")
    lfs.chmod(0o755)
    taken, _ = await bench.take(repository.url)
    assert (taken / "x.bin").read_text() == "large smudge -- x.bin"
    assert (taken / "y.txt").read_text() == "plain"


async def test_offline_what_lfs_has_not_kept_is_missed_and_git_lfs_not_started(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    oid = "a" * 64
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n"
    repository.commit({".gitattributes": "*.bin filter=lfs\n", "x.bin": pointer})
    bench.env["PATH"] = _without("git-lfs", tmp_path / "only")
    lfs = tmp_path / "only/git-lfs"
    lfs.write_text(f"#!/bin/sh\ncat > /dev/null; echo started >> {tmp_path}/started; echo large\n")
    lfs.chmod(0o755)
    bench.anew()
    with GitHttp(tmp_path / "served").serving() as server:
        await bench.take(f"{server.url}/shop")
        (tmp_path / "started").unlink()
        asked = len(server.requests)
        bench.anew(is_offline=True)
        with pytest.raises(NotKept, match=r"'x\.bin', in Git LFS, of http.*/shop is not in the cache"):
            await bench.take(f"{server.url}/shop")
        assert not (tmp_path / "started").exists()
        (clone,) = (path for path in bench.cache.iterdir() if path.is_dir())
        large = clone / "lfs/objects/aa/aa" / oid
        large.parent.mkdir(parents=True)
        large.touch()
        await bench.take(f"{server.url}/shop")
        assert (tmp_path / "started").exists()
        assert len(server.requests) == asked


def _without(program: str, folder: Path) -> str:
    """A PATH on which all else is."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for file in Path(place).iterdir() if Path(place).is_dir() else ():
            if file.name != program and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
    return str(folder)


# Over which line


async def test_the_same_files_come_over_every_transport(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.commit({"a": "1"})
    ssh = ssh_program(tmp_path / "ssh")
    bench.env["PATH"] = f"{ssh.parent}:{bench.env['PATH']}"
    bench.anew()
    served = tmp_path / "served"
    with git_daemon(served) as daemon, GitHttp(served).serving() as http:
        for url in (
            f"{daemon}/shop",
            f"{http.url}/shop",
            f"ssh://git@code.example.com:2222{served}/shop",
            f"git@code.example.com:{served}/shop",
            str(repository.folder),
            "./served/shop",
        ):
            for ref in (None, commit, commit[:8]):
                taken, _ = await bench.take(url, ref)
                assert (taken / "a").read_text() == "1", url


async def test_ssh_is_given_the_key_alone_and_asks_nobody(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    ssh = ssh_program(tmp_path / "ssh")
    bench.env |= {"PATH": f"{ssh.parent}:{bench.env['PATH']}", "GIT_SSH_COMMAND": "false"}
    bench.anew()
    remote = bench.remote(f"git@code.example.com:{repository.folder}")
    await bench.take(remote.opened_by(None, None, tmp_path / "my key"))
    calls = (ssh.parent / "calls").read_text().splitlines()
    assert all(f"-i {tmp_path}/my key -o IdentitiesOnly=yes -o BatchMode=yes" in call for call in calls)
    assert len(calls) == 2  # what it has, and the commit


async def test_a_commit_without_a_name_comes_also_from_a_server_that_gives_only_names(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    commits = [repository.commit({"a": str(number)}) for number in range(3)]
    with GitHttp(tmp_path / "served", is_old=True).serving() as server:
        for ref, text in ((None, "2"), (commits[0], "0"), (commits[1], "1")):
            taken, _ = await bench.take(f"{server.url}/shop", ref)
            assert (taken / "a").read_text() == text
        with pytest.raises(RefNotFound, match=r"has no commit '1{40}'"):
            await bench.take(f"{server.url}/shop", "1" * 40)


async def test_a_server_of_mere_files_will_do(bench: Bench, repository: Repository) -> None:
    repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    repository.run("update-server-info")
    with Server() as server:
        for file in (repository.folder / ".git").rglob("*"):
            if file.is_file():
                name = file.relative_to(repository.folder / ".git").as_posix()
                server.files[f"/shop.git/{name}"] = file.read_bytes()
        taken, _ = await bench.take(f"{server.url}/shop.git")
    assert (taken / "a").read_text() == "2"


# Credentials

CANARY = "canary-3f9c1e7a"


async def test_a_password_opens_the_repository_and_is_left_nowhere(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    seen = tmp_path / "seen"
    shim = tmp_path / "shim/git"
    shim.parent.mkdir()
    running = "cat /proc/[0-9]*/cmdline 2>/dev/null"
    shim.write_text(f'#!/bin/sh\n{{ echo "$@"; {running}; }} >> {seen}\nexec {program("git")} "$@"\n')
    shim.chmod(0o755)
    bench.env["PATH"] = f"{shim.parent}:{bench.env['PATH']}"
    bench.anew()
    with GitHttp(tmp_path / "served", accounts={"me": CANARY}).serving() as server:
        taken, _ = await bench.take(bench.remote(f"{server.url}/shop").opened_by("me", CANARY, None))
        assert names(taken) == ["a"]
        in_url = f"http://me:{CANARY}@127.0.0.1:{server.port}/shop"
        taken, _ = await bench.take(in_url)
        assert names(taken) == ["a"]
    assert b"ls-remote" in seen.read_bytes()
    everything = [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert not any(CANARY.encode() in content for content in [*everything, seen.read_bytes()])
    assert CANARY not in "\n".join(bench.log) + repr(bench.remote(in_url))


async def test_wrong_or_missing_credentials_are_told_apart(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    with GitHttp(tmp_path / "served", accounts={"me": "right"}).serving() as server:
        with pytest.raises(GitAccessRefused, match="was refused without credentials"):
            await bench.take(f"{server.url}/shop")
        with pytest.raises(GitAccessRefused, match="was refused with the credentials given") as caught:
            await bench.take(f"http://me:{CANARY}@127.0.0.1:{server.port}/shop")
    assert CANARY not in str(caught.value)
    assert not caught.value.transient


async def test_credentials_follow_no_redirect_to_another_server(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    served = tmp_path / "served"
    with (
        GitHttp(served, accounts={"me": CANARY}).serving() as other,
        GitHttp(served, redirects_to=other.url).serving() as server,
        pytest.raises(AccessRefused),
    ):
        await bench.take(f"http://me:{CANARY}@127.0.0.1:{server.port}/shop")
    assert other.requests
    assert all(authorization is None for _, authorization in other.requests)


async def test_a_submodule_on_another_server_gets_no_credentials(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    lib = Repository(tmp_path / "served/lib")
    lib.commit({"l": "1"})
    with (
        GitHttp(tmp_path / "served", accounts={"me": CANARY}).serving() as server,
        GitHttp(tmp_path / "served", accounts={"me": CANARY}).serving() as other,
    ):
        repository.run("-c", "protocol.file.allow=always", "submodule", "add", lib.url, "lib")
        repository.commit({".gitmodules": f'[submodule "lib"]\npath = lib\nurl = {other.url}/lib\n'})
        with pytest.raises(GitAccessRefused, match="/lib' was refused without credentials"):
            await bench.take(f"http://me:{CANARY}@127.0.0.1:{server.port}/shop")
        assert all(authorization is None for _, authorization in other.requests)
        repository.commit({".gitmodules": '[submodule "lib"]\npath = lib\nurl = ../lib\n'})
        bench.anew()
        taken, _ = await bench.take(f"http://me:{CANARY}@127.0.0.1:{server.port}/shop")
        assert (taken / "lib/l").read_text() == "1"


async def test_nothing_of_the_users_configuration_is_obeyed(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1", ".gitattributes": "* filter=mine\n"})
    (tmp_path / ".gitconfig").write_text(
        f'[url "file:///nowhere"]\ninsteadOf = {repository.url}\n[filter "mine"]\nsmudge = false\nrequired = true\n'
    )
    bench.env |= {"GIT_DIR": "/nowhere", "GIT_CONFIG_PARAMETERS": "'x", "GIT_TRACE": "1"}
    bench.anew()
    taken, _ = await bench.take(repository.url)
    assert (taken / "a").read_text() == "1"


# When it does not work


async def test_a_repository_that_is_not_there_is_no_passing_trouble(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    with git_daemon(tmp_path) as daemon, GitHttp(tmp_path / "served").serving() as http:
        for url in (f"{http.url}/none", f"{daemon}/none", f"file://{tmp_path}/none"):
            with pytest.raises(RepositoryNotFound, match="there is no git repository") as caught:
                await bench.take(url)
            assert not caught.value.transient


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_server_that_is_not_well_may_be_asked_again(
    bench: Bench, repository: Repository, tmp_path: Path, status: int
) -> None:
    repository.commit({"a": "1"})
    with GitHttp(tmp_path / "served", answers=[status]).serving() as server:
        with pytest.raises(Unreachable, match=f"cannot be reached: .*{status}") as caught:
            await bench.take(f"{server.url}/shop")
        assert caught.value.transient
        taken, _ = await bench.take(f"{server.url}/shop")
        assert names(taken) == ["a"]


async def test_no_server_at_all_may_be_there_in_a_moment(bench: Bench) -> None:
    with pytest.raises(GitUnreachable, match=r"Connection refused|Failed to connect|Couldn't connect"):
        await bench.take("http://127.0.0.1:1/shop")


@pytest.mark.parametrize(
    ("says", "error", "message"),
    [
        ("Host key verification failed.", HostKeyUnknown, "the host key of 'code.example.com' is not known"),
        (
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!",
            HostKeyUnknown,
            "the host key of 'code.example.com' is not the one known",
        ),
        ("git@h: Permission denied (publickey).", GitAccessRefused, "was refused with the keys that ssh has"),
        ("ssh: connect to host h port 22: Connection timed out", GitUnreachable, "Connection timed out"),
        ("ERROR: Repository not found.", NotThere, "there is no git repository"),
    ],
)
async def test_what_ssh_says_is_told_in_plain_words(
    bench: Bench, tmp_path: Path, says: str, error: type[FetchError], message: str
) -> None:
    ssh = ssh_program(tmp_path / "ssh", says=says)
    bench.env["PATH"] = f"{ssh.parent}:{bench.env['PATH']}"
    bench.anew()
    with pytest.raises(error, match=message):
        await bench.take("git@code.example.com:shop/shop.git")


async def test_without_git_it_is_said_what_needs_it(bench: Bench) -> None:
    bench.env["PATH"] = "/nonexistent"
    bench.anew()
    with pytest.raises(
        GitMissing, match=r"`git` is not on PATH, and 'https://example\.com/x' is fetched with it"
    ):
        await bench.take("https://example.com/x")


# Many at once, and killed


async def test_many_that_want_the_same_repository_fetch_it_once(
    bench: Bench, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    other = Bench(tmp_path)
    with GitHttp(tmp_path / "served").serving() as server:
        async with create_task_group() as tasks:
            for each in (bench, bench, bench, other):
                tasks.start_soon(each.take, f"{server.url}/shop")
        listed = sum(path.endswith("/info/refs") for path, _ in server.requests)
        assert listed == 3  # each run lists what there is, and one of them fetches
        assert server.fetches == 2 + 1  # with protocol 2 a listing is such a request too


async def test_who_waits_for_another_fetch_can_be_cancelled(bench: Bench, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    bench.cache.mkdir(parents=True)
    digest = bench.remote(repository.url).digest
    async with held(bench.cache / f"{digest}.lock"):
        with anyio.move_on_after(0.05) as scope:
            await bench.take(repository.url, commit)
    assert scope.cancelled_caught
    assert bench.log == [f"waiting until another fetch of {repository.url} has ended"]
    taken, _ = await bench.take(repository.url, commit)
    assert names(taken) == ["a"]


_TAKE = """
import sys, anyio
from pathlib import Path
sys.path[:0] = {path!r}
from fetch_bench import Bench
anyio.run(Bench(Path({folder!r})).take, {url!r})
"""


@pytest.mark.parametrize("start", range(1, 6))
async def test_a_kill_in_the_middle_harms_nothing(
    bench: Bench, repository: Repository, tmp_path: Path, start: int
) -> None:
    """When it has started git so many times; that git is killed too, whatever it is writing."""
    repository.commit({f"f{n}": f"{n}" * 10_000 for n in range(50)})
    count, shim = tmp_path / "count", tmp_path / "shim/git"
    shim.parent.mkdir()
    shim.write_text(
        f"#!/bin/sh\necho >> {count}\n"
        f'test "$(wc -l < {count})" -eq {start} && kill -9 $PPID\nexec {program("git")} "$@"\n'
    )
    shim.chmod(0o755)
    text = _TAKE.format(path=sys.path, folder=str(tmp_path), url=repository.url)
    env = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"}
    ended = await anyio.run_process([sys.executable, "-c", text], env=env, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    taken, _ = await bench.take(repository.url)
    assert len(names(taken)) == 50


async def test_what_a_killed_git_leaves_behind_is_in_nobodys_way(
    bench: Bench, repository: Repository
) -> None:
    repository.commit({"a": "1"})
    await bench.take(repository.url)
    (clone,) = (path for path in bench.cache.iterdir() if path.is_dir())
    commit = repository.commit({"a": "2"})
    for left in (
        "shallow.lock",
        f"refs/sbkube/{commit}.lock",
        f"refs/sbkube/{commit}",
        "objects/pack/tmp_pack_x",
    ):
        (clone / left).write_text("half")
    bench.anew()
    taken, _ = await bench.take(repository.url)
    assert (taken / "a").read_text() == "2"
    assert not list(clone.rglob("tmp_*"))


async def test_half_a_clone_is_made_anew(bench: Bench, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    (bench.cache / bench.remote(repository.url).digest / "refs/sbkube").mkdir(parents=True)
    taken, _ = await bench.take(repository.url, commit)
    assert names(taken) == ["a"]


async def test_a_damaged_clone_is_fetched_anew(bench: Bench, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    await bench.take(repository.url)
    for file in (file for file in bench.cache.glob("*/objects/*/*") if file.is_file()):
        file.chmod(0o600)
        file.write_bytes(b"")
    bench.anew()
    taken, _ = await bench.take(repository.url, commit)
    assert names(taken) == ["a"]
    assert f"the clone of {repository.url} is damaged, and fetched anew" in bench.log
