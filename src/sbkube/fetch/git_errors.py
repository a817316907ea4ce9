"""What git said, as a cause in plain words. By its words alone, since its exit codes tell nothing; they are asked for in English."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from sbkube.fetch.errors import AccessRefused, FetchError, Mismatch, NotThere, Unreachable
from sbkube.fetch.git_remote import GitRemote

_TOLD = 6
"""Lines of what git said that are told with a failure."""


class GitMissing(FetchError):
    def __init__(self, url: str) -> None:
        super().__init__(
            f"`git` is not on PATH, and {url!r} is fetched with it", hint="install git 2.32 or later"
        )


class GitFailed(FetchError):
    """For a reason that only git's own words tell."""

    def __init__(self, url: str, said: str) -> None:
        super().__init__(f"git could not fetch {url!r}: {said}")


class RepositoryNotFound(NotThere):
    def __init__(self, url: str, *, is_open: bool) -> None:
        hint = "check the URL" if is_open else "check the URL; a private one needs credentials in `git_repos`"
        super().__init__(f"there is no git repository {url!r}", hint=hint)


class RefNotFound(NotThere):
    """Near names help: most such names are misspelt, or a `v` too few."""

    def __init__(self, url: str, what: str, ref: str, known: Iterable[str] = ()) -> None:
        names = list(known)
        near = difflib.get_close_matches(ref, names, n=3, cutoff=0.5) or names[-8:]
        hint = f"it has: {', '.join(near)}" if near else None
        super().__init__(f"git repository {url!r} has no {what} {ref!r}", hint=hint)


class NoDefaultBranch(NotThere):
    """It is empty, or the branch that it puts forward does not exist."""

    def __init__(self, url: str, known: Sequence[str]) -> None:
        super().__init__(
            f"git repository {url!r} " + ("has no default branch" if known else "is empty"),
            hint=f"set `branch`; it has: {', '.join(known[:8])}" if known else None,
        )


class MovedTag(Mismatch):
    def __init__(self, url: str, tag: str, locked: str, now: str) -> None:
        super().__init__(f"tag {tag!r} of {url!r} was moved: it was commit {locked}, and is {now}")


class AmbiguousCommit(NotThere):
    def __init__(self, url: str, ref: str) -> None:
        super().__init__(
            f"{ref!r} is the beginning of more than one commit of git repository {url!r}",
            hint="write all 40 characters",
        )


class PathNotFound(NotThere):
    def __init__(self, url: str, commit: str, path: str, near: Sequence[str]) -> None:
        hint = f"it has: {', '.join(near)}" if near else None
        super().__init__(f"git repository {url!r} has no {path!r} at commit {commit[:12]}", hint=hint)


class GitAccessRefused(AccessRefused):
    def __init__(self, remote: GitRemote, *, key_refused: bool = False) -> None:
        if key_refused:
            told = f"with the key {str(remote.ssh_key)!r}" if remote.ssh_key else "with the keys that ssh has"
            hint = "set `ssh_key` of its entry in `git_repos`, or load the right key into the ssh agent"
        elif remote.password:
            told, hint = "with the credentials given", "check `username` and `password` in `git_repos`"
        else:
            told, hint = (
                "without credentials",
                "set `username` and `password` (or a token) of it in `git_repos`",
            )
        super().__init__(f"access to git repository {remote.url!r} was refused {told}", hint=hint)


class HostKeyUnknown(AccessRefused):
    def __init__(self, url: str, host: str, *, changed: bool) -> None:
        if changed:
            message = f"the host key of {host!r} is not the one known, so {url!r} was not fetched"
            hint = f"if the host has a new key for a good reason: `ssh-keygen -R {host}`, then connect once by hand"
        else:
            message = f"the host key of {host!r} is not known, so {url!r} was not fetched"
            name, _, port = host.partition(":")
            command = f"ssh -p {port} {name}" if port else f"ssh {name}"
            hint = f"connect once by hand, `{command}`, and compare the key that it shows"
        super().__init__(message, hint=hint)


class CertificateRefused(FetchError):
    def __init__(self, url: str, said: str) -> None:
        super().__init__(
            f"the certificate of {url!r} is not trusted: {said}",
            hint="set GIT_SSL_CAINFO to the file of the authority that signed it",
        )


class GitUnreachable(Unreachable):
    def __init__(self, url: str, said: str) -> None:
        super().__init__(f"git repository {url!r} cannot be reached: {said}")


class CacheFull(FetchError):
    def __init__(self, url: str) -> None:
        super().__init__(
            f"there is no space left for git repository {url!r}",
            hint="free some, or put the cache elsewhere with SBKUBE_CACHE_DIR",
        )


_HOST_KEY_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED")
_HOST_KEY = re.compile(r"Host key verification failed|No \S+ host key is known")
_KEY = re.compile(r"Permission denied \(")
_ACCESS = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|returned error: 40[13]"
    r"|HTTP Basic: Access denied|terminal prompts disabled",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"SSL certificate problem|certificate verif|CAfile", re.IGNORECASE)
_NOT_FOUND = re.compile(
    r"repository '.*' not found|Repository not found|does not appear to be a git repository"
    r"|not a git repository|repository not exported|project you were looking for could not be found"
    r"|returned error: 404|No such file or directory|does not exist",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"Could not resolve host|unable to look up|Name or service not known|Temporary failure"
    r"|Connection (?:refused|reset|timed out|closed)|Operation timed out|timed out|Network is unreachable"
    r"|No route to host|Failed to connect|Couldn't connect|unable to connect"
    r"|returned error: (?:408|429|5\d\d)|RPC failed|early EOF|hung up unexpectedly|unexpected disconnect"
    r"|Empty reply|transfer closed|Operation too slow|unexpected end of file|bad pack header|curl \d+",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_DAMAGED = re.compile(
    r"loose object .* is corrupt|object file .* is empty|bad object|inflate: data|unable to read (?:tree|sha1)"
    r"|packfile .* (?:is|does not)|missing (?:blob|tree|commit)|failed to read object|invalid sha1 pointer"
    r"|not a tree object|could not read (?:index|from)|read error",
    re.IGNORECASE,
)
UNADVERTISED = re.compile(
    r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref"
    r"|does not support shallow|server does not support",
    re.IGNORECASE,
)


def failure(remote: GitRemote, lines: Sequence[str], ended: str) -> FetchError:
    """Of a git that asked the other side."""
    text = "\n".join(map(remote.redacted, lines))
    said = told(remote, lines) or ended
    if _NO_SPACE.search(text):
        return CacheFull(remote.url)
    if _HOST_KEY_CHANGED.search(text) or _HOST_KEY.search(text):
        host = remote.server.removeprefix("ssh://")
        return HostKeyUnknown(remote.url, host, changed=bool(_HOST_KEY_CHANGED.search(text)))
    if _KEY.search(text) and remote.scheme == "ssh":
        return GitAccessRefused(remote, key_refused=True)
    if _ACCESS.search(text):
        return GitAccessRefused(remote)
    if _CERTIFICATE.search(text):
        return CertificateRefused(remote.url, said)
    if _NOT_FOUND.search(text):
        return RepositoryNotFound(remote.url, is_open=bool(remote.password or remote.ssh_key))
    if _NETWORK.search(text):
        return GitUnreachable(remote.url, said)
    return GitFailed(remote.url, said)


def is_damage(lines: Sequence[str]) -> bool:
    """Of what lies here, so that fetching it anew mends it."""
    return any(_DAMAGED.search(line) for line in lines)


def told(remote: GitRemote, lines: Sequence[str]) -> str:
    """Its last words in one line, without what it advises."""
    words = [remote.redacted(line.strip()) for line in lines]
    kept = [
        re.sub(r"^(?:fatal|error|remote): *(?:unable to access '[^']*': *)?", "", line)
        for line in words
        if line and "hint:" not in line
    ]
    return "; ".join(dict.fromkeys(line for line in kept if line and not line.startswith("Please make")))[
        -_TOLD * 100 :
    ]
