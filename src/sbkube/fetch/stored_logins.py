"""What `helm registry login` and `docker login` have kept: read when a registry asks who we are, never written."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from sbkube.fetch.errors import FetchError
from sbkube.fetch.flights import Flights
from sbkube.process import CannotStart, CommandTimedOut, run_process

_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER_LIMIT = 60.0
"""Seconds: a helper may ask its user something."""
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Login:
    """Either a name with a password, or a token with which others are had (`refresh`), or one for the registry itself."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    refresh: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)


class BadLogins(FetchError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the logins in `{path}` cannot be read: {why}", hint="mend it, or log in anew")


class HelperFailed(FetchError):
    """Nothing that it printed is told: it may be what it keeps."""

    def __init__(self, program: str, file: Path, host: str, why: str) -> None:
        super().__init__(
            f"{program!r}, which `{file}` names for the login of {host!r}, {why}",
            hint=f"mend it, or give `username` and `password` in `oci_registries`; `{program} list` tells whether it works",
        )


class StoredLogins:
    """Of one run: each host is looked up once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._flights: Flights[Login | None] = Flights(keeps=True)

    async def of(self, host: str) -> Login | None:
        """Raises `FetchError`."""
        return await self._flights.do(host, lambda: self._of(host))

    async def _of(self, host: str) -> Login | None:
        for file in login_files(self._environ):
            stored = await run_sync(_read, file)
            if (helper := _helper(stored, host)) is not None:
                found = await self._ask(helper, file, _key(host))
            else:
                found = await run_sync(_written, file, stored, host)
            if found is not None:
                return found
        return None

    async def _ask(self, helper: str, file: Path, key: str) -> Login | None:
        """The host goes to its standard input; what it says is kept in memory only."""
        program, lines = f"docker-credential-{helper}", list[str]()
        if os.sep in helper:
            raise HelperFailed(program, file, key, "is no name of a program")
        try:
            ended = await run_process(
                [program, "get"],
                cwd=file.parent,
                env=self._environ,
                on_line=lines.append,
                time_limit=_HELPER_LIMIT,
                stdin=key.encode(),
            )
        except (CannotStart, CommandTimedOut) as error:
            raise HelperFailed(program, file, key, f"did not work: {error.message}") from error
        said = "\n".join(lines)
        if ended.ok:
            return _from_helper(said, program, file, key)
        if _NOT_FOUND in said.lower():
            return None
        raise HelperFailed(program, file, key, f"ended with {ended}")


def login_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Helm's own, then Docker's, as Helm asks them."""
    home = Path(environ.get("HOME") or Path.home())
    settings = home / ("Library/Preferences" if sys.platform == "darwin" else ".config")
    helm = environ.get("HELM_CONFIG_HOME") or Path(environ.get("XDG_CONFIG_HOME") or settings, "helm")
    yield Path(environ.get("HELM_REGISTRY_CONFIG") or Path(helm, "registry/config.json")).absolute()
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker", "config.json").absolute()


def _key(host: str) -> str:
    return _HUB if host in _HUB_HOSTS else host


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadLogins(file, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BadLogins(file, "it is no JSON") from error
    return stored if isinstance(stored, dict) else {}


def _helper(stored: Mapping[str, Any], host: str) -> str | None:
    helpers = stored.get("credHelpers")
    own = helpers.get(_key(host)) or helpers.get(host) if isinstance(helpers, dict) else None
    helper = own or stored.get("credsStore")
    return helper if isinstance(helper, str) and helper else None


def _from_helper(said: str, program: str, file: Path, key: str) -> Login:
    """Other output may stand before and after it: standard error is in it too."""
    try:
        told = json.loads(said[said.index("{") : said.rindex("}") + 1])
        username, secret = str(told["Username"]), str(told["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HelperFailed(program, file, key, "did not say what Docker's helpers say") from None
    return Login(refresh=secret) if username == _TOKEN_USER else Login(username, secret)


def _written(file: Path, stored: Mapping[str, Any], host: str) -> Login | None:
    entries = stored.get("auths")
    if not isinstance(entries, dict):
        return None
    wanted = _key(host)
    entry = entries.get(wanted)
    if entry is None:
        entry = next((entry for key, entry in entries.items() if _host(key) == wanted), None)
    return _of_entry(entry, file, host) if isinstance(entry, dict) else None


def _host(key: str) -> str:
    """Older programs wrote URLs."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _of_entry(entry: Mapping[str, Any], file: Path, host: str) -> Login | None:
    if token := entry.get("registrytoken"):
        return Login(bearer=str(token))
    if token := entry.get("identitytoken"):
        return Login(refresh=str(token))
    if auth := entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(auth)).decode().partition(":")
        except ValueError:
            colon = username = password = ""
        if not colon:
            raise BadLogins(file, f"`auth` of {host!r} is no user and password")
        return Login(username, password.strip("\0"))
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password") or ""))
    return None
