"""Where a git repository is, what opens it, and what of it is asked for. A credential never stays in a URL: URLs are shown, logged and kept."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

from sbkube.fetch.errors import FetchError

SCHEMES = ("https", "http", "ssh", "git", "file")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)[^\s]+")
_PATH = re.compile(r"(?:/|\./|\.\./|~/)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a repository is asked for: `ref` wins over `branch`; neither is what the repository itself puts forward."""

    ref: str | None = None
    branch: str | None = None

    @property
    def is_pinned(self) -> bool:
        return is_commit(self.ref or "")

    @property
    def kind(self) -> str:
        return "ref" if self.ref else "branch"

    def __str__(self) -> str:
        return self.ref or self.branch or "its default branch"


def is_commit(text: str) -> bool:
    """A full commit id: the one name that means the same tomorrow."""
    return _COMMIT.fullmatch(text) is not None


class BadGitUrl(FetchError):
    """What is written is no address from which git should fetch."""

    def __init__(self, shown: str, why: str) -> None:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        super().__init__(
            f"{shown!r} is no git repository to fetch from: {why}",
            hint=f"URLs may start with {schemes}; `user@host:path` and paths of this machine work too",
        )


@dataclass(frozen=True, slots=True)
class GitRemote:
    """A repository by its URL; `password` may be a token."""

    url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ssh_key: Path | None = None

    @classmethod
    def of(cls, text: str, folder: Path) -> Self:
        """A path is relative to `folder`. Raises `BadGitUrl`."""
        if text.startswith("-") or any(sign.isspace() or not sign.isprintable() for sign in text):
            raise BadGitUrl(without_credentials(text), "it has a sign that no URL has")
        if _HELPER.match(text):
            raise BadGitUrl(without_credentials(text), "a transport that runs programs is not allowed")
        if "://" in text:
            return cls._of_url(text)
        if _PATH.match(text):
            return cls(f"file://{(folder / Path(text).expanduser()).resolve()}")
        if _SCP.fullmatch(text):
            return cls(text)
        raise BadGitUrl(text, "it is neither a URL nor a path that starts with `./` or `/`")

    @classmethod
    def _of_url(cls, text: str) -> Self:
        shown = without_credentials(text)
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise BadGitUrl(shown, str(error)) from None
        scheme = parts.scheme.lower()
        if scheme not in SCHEMES:
            raise BadGitUrl(shown, f"{scheme}:// is not allowed")
        if scheme != "file" and (not host or host.startswith("-")):
            raise BadGitUrl(shown, "it names no host")
        if parts.query or parts.fragment:
            raise BadGitUrl(shown, "it has a query or a fragment")
        host = f"[{host}]" if ":" in host else host
        at = host if port is None else f"{host}:{port}"
        user = unquote(parts.username) if parts.username else None
        if scheme == "ssh" and user:
            at = f"{parts.username}@{at}"  # it is part of the address there, and no secret
        url = urlunsplit((scheme, at if scheme != "file" else "", parts.path.rstrip("/"), "", ""))
        if scheme in ("http", "https"):
            return cls(url, user, unquote(parts.password) if parts.password else None)
        return cls(url)

    def opened_by(self, username: str | None, password: str | None, ssh_key: Path | None) -> Self:
        """With credentials in place of those of the URL, if there are any."""
        if not (username or password or ssh_key):
            return self
        return replace(self, username=username, password=password, ssh_key=ssh_key)

    @property
    def is_opened(self) -> bool:
        return bool(self.username or self.password)

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0] if "://" in self.url else "ssh"

    @property
    def server(self) -> str:
        """Scheme, host and port: what credentials are for."""
        if "://" not in self.url:
            return f"ssh://{self.url.partition(':')[0].rpartition('@')[2]}"
        return f"{self.scheme}://{urlsplit(self.url).netloc.rpartition('@')[2]}"

    @property
    def digest(self) -> str:
        """A name for it on this machine, in which no credential has a part."""
        return hashlib.sha256(self.url.removesuffix(".git").encode()).hexdigest()[:32]

    def submodule(self, text: str) -> GitRemote:
        """What a repository names as its part, by a URL of its own or relative to its own. Raises `BadGitUrl`."""
        text = text.rstrip("/")
        url = self._beside(text) if text.startswith(("./", "../")) else text
        remote = GitRemote.of(url, Path("/"))
        if remote.scheme == "file" and self.scheme != "file":
            raise BadGitUrl(
                without_credentials(text), "a repository from elsewhere names one of this machine"
            )
        return remote.opened_by(self.username, self.password, self.ssh_key) if self.opens(remote) else remote

    def opens(self, other: GitRemote) -> bool:
        """Whether its credentials are for that one too."""
        return other.server == self.server

    def _beside(self, text: str) -> str:
        base, separator = self.url, "/"
        while text.startswith(("./", "../")):
            step, _, text = text.partition("/")
            if step == "..":
                cut = max(base.rfind("/"), base.rfind(":"))
                base, separator = base[:cut], base[cut]
        return f"{base}{separator}{text}"

    def redacted(self, text: str) -> str:
        """Without any secret of its own, whoever put it there."""
        for secret in (self.password, self.username if self.password is None else None):
            if secret:
                text = text.replace(secret, "***")
        return without_credentials(text)


_USERINFO = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*@|(?<=https://)[^/@\s]+@|(?<=http://)[^/@\s]+@")


def without_credentials(text: str) -> str:
    """A text in which URLs may stand, without what opens them."""
    return _USERINFO.sub("", text)
