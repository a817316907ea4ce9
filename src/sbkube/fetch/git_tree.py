"""The files of a commit, written from a bare clone into a folder as git would check them out.

Not by `git archive`, which leaves out and rewrites what `.gitattributes` says (`export-ignore`, `export-subst`), and knows
nothing of LFS. A link that leads out of the repository is left out: who reads its files must not be led to those of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio.to_thread import run_sync

from sbkube.errors import as_text
from sbkube.fetch.errors import FetchError
from sbkube.fetch.git_errors import GitFailed, PathNotFound, failure, told
from sbkube.fetch.git_program import Git, Said
from sbkube.fetch.git_remote import GitRemote
from sbkube.fetch.nearby import nearby

_ENTRY = re.compile(r"(\d{6}) \w+ ([0-9a-f]{40})\t(.*)")
_QUOTED = re.compile(r"\\([0-7]{3}|.)")
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "v": "\v", "f": "\f"}
_LINK, _SUBMODULE = "120000", "160000"
_OID = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_POINTER = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024
_LFS = {"filter.lfs.smudge": "git-lfs smudge -- %f", "filter.lfs.required": "true"}


class CheckoutFailed(GitFailed):
    def __init__(self, remote: GitRemote, said: Said) -> None:
        super().__init__(remote.url, told(remote, said.lines) or str(said.ended))
        self.lines = said.lines


class LfsMissing(FetchError):
    def __init__(self, url: str, name: str) -> None:
        super().__init__(
            f"git repository {url!r} keeps {name!r} in Git LFS, and `git-lfs` is not on PATH",
            hint="install git-lfs",
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A submodule, still to be fetched; `path` is what is wanted of it."""

    name: str
    url: str
    commit: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What was written, or left out on purpose."""

    left_out: tuple[str, ...] = ()
    """Links that lead out of the repository."""
    parts: tuple[Part, ...] = ()
    without_url: tuple[str, ...] = ()
    """Submodules of which `.gitmodules` does not say where they come from."""

    @property
    def told(self) -> list[str]:
        """What somebody may miss who looks for it."""
        links = [f"left out `{name}`: a link that leads out of the repository" for name in self.left_out]
        unknown = [
            f"left out submodule `{name}`: `.gitmodules` has no URL of it" for name in self.without_url
        ]
        return links + unknown

    def joined(self, other: Taken, below: str) -> Taken:
        links = tuple(f"{below}/{name}" for name in other.left_out)
        unknown = tuple(f"{below}/{name}" for name in other.without_url)
        return replace(self, left_out=self.left_out + links, without_url=self.without_url + unknown)


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TreeWriter:
    git: Git
    remote: GitRemote
    folder: Path
    """Of the clone."""

    async def write(self, commit: str, into: Path, path: str | None) -> Taken:
        entries = await self._entries(commit)
        chosen = _chosen(entries, path)
        if path is not None and not chosen:
            near = nearby(path, [entry.name for entry in entries])
            raise PathNotFound(self.remote.url, commit, path, near)
        await run_sync(partial(into.mkdir, parents=True, exist_ok=True))
        files = [entry.name for entry in chosen if entry.mode != _SUBMODULE]
        with TemporaryDirectory(prefix="sbkube-git-") as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch, "index"))}
            self._checked(await self._run("read-tree", commit, more=index))
            await self._check_out(files, into, index)
            pointers = await run_sync(_pointers, into, chosen)
            if pointers:
                await self._fill(pointers, into, index)
        links = [entry.name for entry in chosen if entry.mode == _LINK]
        left_out = await run_sync(_cut_links, into, links)
        submodules = [entry for entry in chosen if entry.mode == _SUBMODULE]
        urls = await self._submodule_urls(commit) if submodules else {}
        return Taken(
            tuple(map(as_text, left_out)),
            tuple(_part(entry, urls[entry.name], path) for entry in submodules if entry.name in urls),
            tuple(as_text(entry.name) for entry in submodules if entry.name not in urls),
        )

    async def _entries(self, commit: str) -> list[_Entry]:
        said = self._checked(await self._run("ls-tree", "-r", "--full-tree", commit))
        found = (_ENTRY.fullmatch(line) for line in said.lines)
        return [_Entry(match[1], match[2], _unquoted(match[3])) for match in found if match]

    async def _check_out(
        self,
        names: Iterable[str],
        into: Path,
        index: Mapping[str, str],
        config: Mapping[str, str] | None = None,
        remote: GitRemote | None = None,
    ) -> None:
        listed = b"".join(os.fsencode(name) + b"\0" for name in names)
        said = await self._run(
            *("checkout-index", "--force", "-z", "--stdin"),
            more={**index, "GIT_WORK_TREE": str(into)},
            config=config,
            cwd=into,
            stdin=listed,
            remote=remote,
        )
        if remote is not None and not said.ok:
            raise failure(remote, said.lines, str(said.ended))
        self._checked(said)

    async def _fill(self, pointers: Sequence[str], into: Path, index: Mapping[str, str]) -> None:
        """What LFS keeps elsewhere, in the place of what points there. It asks the repository by itself."""
        if not _on_path("git-lfs", self.git.environ):
            raise LfsMissing(self.remote.url, as_text(pointers[0]))
        for name in pointers:
            if not self._has_large(into / name):
                self.git.check_may_ask(self.remote, f"{as_text(name)!r}, in Git LFS, of {self.remote.url}")
        config = {**_LFS, "remote.origin.url": self.remote.url, "lfs.locksverify": "false"}
        await self._check_out(pointers, into, index, config, self.remote)

    def _has_large(self, pointer: Path) -> bool:
        found = _OID.search(pointer.read_bytes())
        return found is not None and self._large_file(found[1].decode()).is_file()

    def _large_file(self, oid: str) -> Path:
        return self.folder / "lfs/objects" / oid[:2] / oid[2:4] / oid

    async def _submodule_urls(self, commit: str) -> dict[str, str]:
        said = await self._run(
            *("config", "--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
        )
        paths, urls = dict[str, str](), dict[str, str]()
        for line in said.lines if said.ok else ():
            key, _, value = line.partition(" ")
            name, _, what = key.removeprefix("submodule.").rpartition(".")
            (paths if what == "path" else urls)[name] = value
        return {path: urls[name] for name, path in paths.items() if name in urls}

    def _checked(self, said: Said) -> Said:
        if not said.ok:
            raise CheckoutFailed(self.remote, said)
        return said

    async def _run(
        self,
        *arguments: str,
        more: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        remote: GitRemote | None = None,
    ) -> Said:
        """Without credentials, unless `remote` has some: hardly anything here asks the other side."""
        return await self.git(
            *arguments,
            remote=remote or GitRemote(self.remote.url),
            cwd=cwd or self.folder,
            more={"GIT_DIR": str(self.folder), **(more or {})},
            config=config,
            stdin=stdin,
        )


def _chosen(entries: Sequence[_Entry], path: str | None) -> list[_Entry]:
    if path is None:
        return list(entries)
    below = path.rstrip("/") + "/"
    return [
        entry
        for entry in entries
        if entry.name == path
        or entry.name.startswith(below)
        or (entry.mode == _SUBMODULE and below.startswith(entry.name + "/"))
    ]


def _part(entry: _Entry, url: str, path: str | None) -> Part:
    within = None if path is None else path.rstrip("/").removeprefix(f"{entry.name}/")
    is_inside = path is not None and path.startswith(f"{entry.name}/")
    return Part(entry.name, url, entry.id, within if is_inside else None)


def _unquoted(text: str) -> str:
    """A name as git quotes one with odd signs."""
    if not (len(text) > 1 and text[0] == text[-1] == '"'):
        return text
    plain = _QUOTED.sub(_sign, text[1:-1])
    return os.fsdecode(plain.encode("latin-1"))


def _sign(match: re.Match[str]) -> str:
    sign = match[1]
    return chr(int(sign, 8)) if len(sign) == 3 else _SIGNS.get(sign, sign)


def _cut_links(folder: Path, names: Iterable[str]) -> list[str]:
    """Removes the links that lead out of the folder, and names them."""
    home = os.path.realpath(folder)
    real = {name: os.path.realpath(folder / name) for name in names}
    cut = [name for name, path in real.items() if path != home and not path.startswith(f"{home}/")]
    for name in cut:
        (folder / name).unlink()
    return cut


def _pointers(folder: Path, entries: Iterable[_Entry]) -> list[str]:
    found = []
    for entry in entries:
        file = folder / entry.name
        if entry.mode in (_LINK, _SUBMODULE) or file.stat().st_size > _LARGEST_POINTER:
            continue
        with file.open("rb") as content:
            if content.read(len(_POINTER)) == _POINTER:
                found.append(entry.name)
    return found


def _on_path(program: str, environ: Mapping[str, str]) -> bool:
    return shutil.which(program, path=environ.get("PATH", "")) is not None
