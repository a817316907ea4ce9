"""Git repositories by what an app says of them: a name in `git_repos`, or a URL."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from anyio.to_thread import run_sync

from sbkube.apps.fetched_charts import told_by_lock
from sbkube.apps.secrets import revealed
from sbkube.apps.work import Asking, GitRepository, Place
from sbkube.errors import ConfigError, Position, SbkubeError
from sbkube.fetch.errors import FetchError
from sbkube.fetch.git_errors import MovedTag
from sbkube.fetch.git_remote import GitRemote, Wanted, without_credentials
from sbkube.fetch.lockfile import Asks


class UnknownRepository(ConfigError):
    def __init__(self, name: str, known: list[str]) -> None:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        there = f"there are: {', '.join(known)}" if known else "write its URL, or add it there"
        super().__init__(f"`git_repos` has no {name!r}", hint=f"did you mean {near[0]!r}?" if near else there)


class KeyMissing(SbkubeError):
    def __init__(self, path: Path, where: Position) -> None:
        super().__init__(f"the ssh key `{path}` is not there, or may not be read", where=where)


def entry(repo: str, place: Place) -> tuple[str, GitRepository] | None:
    """By its name, or by its URL, so that what opens it need not be written twice."""
    if found := place.git_repos.get(repo):
        return repo, found
    return next(((name, known) for name, known in place.git_repos.items() if _is_at(known.url, repo)), None)


def shown(repo: str, place: Place) -> str:
    """The URL, of which nobody need know more; as it is written if it is none."""
    found = entry(repo, place)
    try:
        return _remote(found[1].url if found else repo, place).url
    except SbkubeError:
        return without_credentials(repo)


def remote_of(repo: str, place: Place, environ: Mapping[str, str] | None) -> GitRemote:
    """With what opens it, taken from the environment; None: without. Raises `SbkubeError`."""
    found = entry(repo, place)
    if found is None:
        return _remote(repo, place)
    name, known = found
    remote = _remote(known.url, place)
    if environ is None:
        return remote
    username, password = (
        revealed(secret, f"git_repos.{name}.{field}", environ, place.where_setting("git_repos", name, field))
        for field, secret in (("username", known.username), ("password", known.password))
    )
    return remote.opened_by(username, password, _key(known.ssh_key, name, place))


def git_asks(repo: str, wanted: Wanted, place: Place) -> Asks:
    what = {wanted.kind: str(wanted)} if wanted.ref or wanted.branch else {}
    return {"repo": shown(repo, place), **what}


async def commit_of(repo: str, wanted: Wanted, asking: Asking, *, follows: bool) -> tuple[GitRemote, str]:
    """`follows`: what the lock file has. Raises `SbkubeError`."""
    remote = await run_sync(remote_of, repo, asking.place, asking.env)
    pin = asking.place.pin(git_asks(repo, wanted, asking.place)) if follows else None
    if pin is not None and pin.commit is not None:
        if wanted.ref is not None and not asking.fetch.is_offline:
            try:
                await asking.fetch.git.check_tag(remote, wanted.ref, pin.commit)
            except MovedTag as error:
                raise told_by_lock(error, asking.place, pin) from None
        return remote, pin.commit
    return remote, await asking.fetch.git.commit_of(remote, wanted)


def _remote(text: str, place: Place) -> GitRemote:
    if not any(sign in text for sign in "/:"):
        raise UnknownRepository(text, list(place.git_repos))
    return GitRemote.of(text, place.folder)


def _is_at(url: str, other: str) -> bool:
    try:
        return GitRemote.of(url, Path("/")).url == GitRemote.of(other, Path("/")).url
    except FetchError:
        return False


def _key(text: str | None, name: str, place: Place) -> Path | None:
    if text is None:
        return None
    path = place.folder / Path(text).expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        raise KeyMissing(path, place.where_setting("git_repos", name, "ssh_key")) from error
    return path
