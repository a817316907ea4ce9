"""Git repositories: a name resolved to a commit, and one commit fetched into a clone that all runs of this machine share.

Below the cache folder lies a bare clone for each URL, `git/<digest>`, with a `.lock` beside it. A commit is there when its own
reference, `refs/sbkube/<commit>`, is: git writes that last, so what a kill leaves behind is never taken for a commit. One
process at a time fetches into a clone. It hands the lock to the git that it starts, which may outlive it by a moment.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from sbkube.fetch.cache import Cache
from sbkube.fetch.errors import NotKept
from sbkube.fetch.git_errors import (
    UNADVERTISED,
    AmbiguousCommit,
    MovedTag,
    NoDefaultBranch,
    RefNotFound,
    failure,
    is_damage,
)
from sbkube.fetch.git_program import Git, Said
from sbkube.fetch.git_remote import GitRemote, Wanted, is_commit
from sbkube.fetch.git_tree import CheckoutFailed, Taken, TreeWriter
from sbkube.fetch.locks import held

Log = Callable[[str], Awaitable[None]]

_SHORT = re.compile(r"[0-9a-f]{7,39}")
_ADVERTISED = re.compile(r"(?:ref: (\S+)|([0-9a-f]{40}))\t(\S+)")
MARK = "sbkube-url"
"""The file in a clone that says of which repository it is."""


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a repository says that it has."""

    refs: Mapping[str, str]

    def commit(self, wanted: Wanted) -> str | None:
        """As git itself looks a name up: tags before branches."""
        if wanted.ref is not None:
            names = [f"refs/tags/{wanted.ref}", f"refs/heads/{wanted.ref}"]
            names += [wanted.ref] if wanted.ref.startswith("refs/") or wanted.ref == "HEAD" else []
        else:
            names = ["HEAD" if wanted.branch is None else f"refs/heads/{wanted.branch}"]
        # A tag may be an object of its own; `^{}` is the commit that it names.
        found = (self.refs.get(f"{name}^{{}}") or self.refs.get(name) for name in names)
        return next((commit for commit in found if commit), None)

    def names(self, *kinds: str) -> list[str]:
        return [
            name.removeprefix(kind)
            for name in self.refs
            for kind in kinds
            if name.startswith(kind) and "^" not in name
        ]


class GitClones:
    """What one run asks of repositories: each is asked once what it has."""

    def __init__(self, cache: Cache, environ: Mapping[str, str], *, is_offline: bool = False) -> None:
        """The clones lie in the folder of the cache, which also knows where names led last."""
        self._cache, self._folder = cache, cache.folder / "git"
        self._git = Git(environ, is_offline)
        self._asked: dict[str, Advertised] = {}
        self._asking: dict[str, anyio.Lock] = {}

    async def commit_of(self, remote: GitRemote, wanted: Wanted) -> str:
        """Asks nobody for a full commit id. Offline, where the name led last. Raises `FetchError`."""
        if wanted.ref is not None and is_commit(wanted.ref):
            return wanted.ref
        question = f"{remote.url} {wanted.kind} {wanted}"
        try:
            self._git.check_may_ask(remote, f"the commit that {wanted} of {remote.url} means")
        except NotKept:
            noted = await run_sync(self._cache.noted, "git", question) or {}
            if "commit" not in noted:
                raise
            return str(noted["commit"])
        commit = await self._commit_of(remote, wanted)
        await run_sync(self._cache.note, "git", question, {"commit": commit})
        return commit

    async def check_tag(self, remote: GitRemote, name: str, commit: str) -> None:
        """Where the commit must be fetched: nobody moves a tag and means well. Raises `MovedTag`."""
        if self._clone(remote).has(commit):
            return
        refs = (await self._advertised(remote)).refs
        now = refs.get(f"refs/tags/{name}^{{}}") or refs.get(f"refs/tags/{name}")
        if now not in (None, commit):
            raise MovedTag(remote.url, name, commit, str(now))

    async def _commit_of(self, remote: GitRemote, wanted: Wanted) -> str:
        advertised = await self._advertised(remote)
        if commit := advertised.commit(wanted):
            return commit
        if wanted.ref is not None and _SHORT.fullmatch(wanted.ref):
            return await self._clone(remote).lengthened(wanted.ref)
        known = advertised.names("refs/heads/", *(["refs/tags/"] if wanted.ref else []))
        if not (wanted.ref or wanted.branch):
            raise NoDefaultBranch(remote.url, known)
        what = "branch or tag" if wanted.ref else "branch"
        raise RefNotFound(remote.url, what, str(wanted), known)

    async def tags(self, remote: GitRemote) -> list[str]:
        """Raises `FetchError`."""
        return (await self._advertised(remote)).names("refs/tags/")

    async def take(
        self, remote: GitRemote, commit: str, into: Path, *, path: str | None = None, log: Log
    ) -> Taken:
        """The files of a commit, those below `path` at least, where they are in the repository. Raises `FetchError`."""
        clone = self._clone(remote)
        await clone.fetch(commit, log)
        try:
            taken = await clone.write(commit, into, path)
        except CheckoutFailed as error:
            if not is_damage(error.lines):
                raise
            await log(f"the clone of {remote.url} is damaged, and fetched anew")
            await clone.fetch(commit, log, anew=True)
            taken = await clone.write(commit, into, path)
        for part in taken.parts:
            other = remote.submodule(part.url)
            within = await self.take(other, part.commit, into / part.name, path=part.path, log=log)
            taken = taken.joined(within, part.name)
        return taken

    async def _advertised(self, remote: GitRemote) -> Advertised:
        async with self._asking.setdefault(remote.url, anyio.Lock()):
            if remote.url not in self._asked:
                self._asked[remote.url] = await self._ask(remote)
            return self._asked[remote.url]

    async def _ask(self, remote: GitRemote) -> Advertised:
        await run_sync(_make_folder, self._folder)
        said = await self._git("ls-remote", "--", remote.url, remote=remote, cwd=self._folder)
        if not said.ok:
            raise failure(remote, said.lines, str(said.ended))
        found = (_ADVERTISED.fullmatch(line) for line in said.lines)
        return Advertised({match[3]: match[2] for match in found if match and match[2]})

    def _clone(self, remote: GitRemote) -> _Clone:
        return _Clone(remote, self._folder / remote.digest, self._git)


@dataclass(frozen=True, slots=True)
class _Clone:
    """One bare clone, which other tasks and processes use too."""

    remote: GitRemote
    folder: Path
    git: Git = field(repr=False)

    async def fetch(self, commit: str, log: Log, *, anew: bool = False) -> None:
        if not anew and self.has(commit):
            return
        self.git.check_may_ask(self.remote, f"commit {commit[:12]} of {self.remote.url}")
        waiting = partial(log, f"waiting until another fetch of {self.remote.url} has ended")
        async with held(self._lock_file, on_wait=waiting) as lock:
            if anew:
                await run_sync(_remove, self.folder)
            elif self.has(commit):
                return
            await self._prepare(lock)
            await log(f"fetching commit {commit[:12]} of {self.remote.url}")
            await self._fetch(commit, lock)

    async def write(self, commit: str, into: Path, path: str | None) -> Taken:
        async with held(self._lock_file, shared=True):
            return await TreeWriter(self.git, self.remote, self.folder).write(commit, into, path)

    async def lengthened(self, short: str) -> str:
        """The commit whose id begins so, which only who has all of them can tell."""
        async with held(self._lock_file) as lock:
            await self._prepare(lock)
            await self._fetch_all(lock)
            found = await self._here("rev-parse", f"--disambiguate={short}")
            ids = [line for line in found.lines if is_commit(line)]
            kinds = [(await self._here("cat-file", "-t", id)).lines for id in ids]
        commits = [id for id, kind in zip(ids, kinds, strict=True) if kind == ["commit"]]
        if len(commits) > 1:
            raise AmbiguousCommit(self.remote.url, short)
        if not commits:
            raise RefNotFound(self.remote.url, "branch, tag or commit", short)
        return commits[0]

    # Under the lock

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.lock")

    async def _fetch(self, commit: str, lock: int) -> None:
        said = await self._from_remote(lock, "--depth=1", f"{commit}:refs/sbkube/{commit}")
        if said.ok:
            return
        if not any(UNADVERTISED.search(line) for line in said.lines):
            raise failure(self.remote, said.lines, str(said.ended))
        # Some servers give only what has a name, and some no less than all of it.
        await self._fetch_all(lock)
        named = await self._here("update-ref", f"refs/sbkube/{commit}", f"{commit}^{{commit}}")
        if not named.ok:
            raise RefNotFound(self.remote.url, "commit", commit)

    async def _fetch_all(self, lock: int) -> None:
        shallow = (self.folder / "shallow").exists()
        names = ("+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*")
        said = await self._from_remote(lock, *(("--unshallow",) if shallow else ()), *names)
        if not said.ok:
            raise failure(self.remote, said.lines, str(said.ended))

    async def _from_remote(self, lock: int, *arguments: str) -> Said:
        options = [argument for argument in arguments if argument.startswith("--")]
        refs = [argument for argument in arguments if not argument.startswith("--")]
        return await self.git(
            "fetch",
            *("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *options),
            *("--", self.remote.url, *refs),
            remote=self.remote,
            cwd=self.folder,
            more={"GIT_DIR": str(self.folder)},
            keeps_open=(lock,),
        )

    async def _here(self, *arguments: str) -> Said:
        closed = GitRemote(self.remote.url)
        return await self.git(*arguments, remote=closed, cwd=self.folder, more={"GIT_DIR": str(self.folder)})

    def has(self, commit: str) -> bool:
        with suppress(OSError):
            return (self.folder / "refs/sbkube" / commit).read_text().strip() == commit
        return False

    async def _prepare(self, lock: int) -> None:
        if (self.folder / MARK).exists():
            await run_sync(_mend, self.folder)
            return
        await run_sync(_remove, self.folder)
        said = await self.git(
            *("init", "--quiet", "--bare", "--template=", str(self.folder)),
            remote=GitRemote(self.remote.url),
            cwd=self.folder.parent,
            more={"GIT_DEFAULT_HASH": "sha1"},
            keeps_open=(lock,),
        )
        if not said.ok:
            raise failure(self.remote, said.lines, str(said.ended))
        (self.folder / MARK).write_text(f"{self.remote.url}\n")


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _mend(folder: Path) -> None:
    """What a killed git or a power failure left; while the lock is held no other git writes here."""
    for ref in (folder / "refs/sbkube").glob("*"):
        if not ref.name.endswith(".lock") and ref.read_text(errors="replace").strip() != ref.name:
            ref.unlink()
    for left in (*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")):
        left.unlink(missing_ok=True)
    for left in (folder / "objects").rglob("tmp_*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
