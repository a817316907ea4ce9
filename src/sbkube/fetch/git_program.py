"""The `git` program, started so that nothing of this machine's configuration and no secret has a part in it.

A program, since no library handles ssh, LFS, submodules and credentials as git does. What a user configured for himself
(URL rewriting, hooks, filters, a credential helper that asks) is not obeyed: the same project fetches the same everywhere. What
opens a repository goes through the environment of the one process that needs it: never in arguments, in a URL, or on disk.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbkube.fetch.errors import NotKept
from sbkube.fetch.git_errors import GitMissing
from sbkube.fetch.git_remote import SCHEMES, GitRemote
from sbkube.process import END_WITH_LIFELINE, Exit, lifeline, run_process

_KEPT = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSH", "GIT_SSH_COMMAND")
"""Of the variables that git reads: which authorities are trusted, and which ssh is used where no key is named."""

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.quotePath": "true",
    "core.autocrlf": "false",
    "core.symlinks": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # A line that is dead, and not only slow, is given up for another try.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "http.followRedirects": "initial",
}
_SSH = "-o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
# Scoped to the server by the name of the setting, so no redirect takes it elsewhere.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$SBKUBE_GIT_USERNAME" "$SBKUBE_GIT_PASSWORD"; }; f'
)


@dataclass(frozen=True, slots=True)
class Said:
    """How a git ended, and its output and errors by lines."""

    ended: Exit
    lines: Sequence[str]

    @property
    def ok(self) -> bool:
        return self.ended.ok


@dataclass(frozen=True, slots=True)
class Git:
    environ: Mapping[str, str]
    is_offline: bool = False

    def check_may_ask(self, remote: GitRemote, what: str) -> None:
        """A repository of this machine's disk may always be asked. Raises `NotKept`."""
        if self.is_offline and remote.scheme != "file":
            raise NotKept(what)

    async def __call__(
        self,
        *arguments: str,
        remote: GitRemote,
        cwd: Path,
        more: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        keeps_open: Sequence[int] = (),
    ) -> Said:
        """To its end, and however it ends. Raises `GitMissing`."""
        lines: list[str] = []
        env = {**self._environment(remote, config or {}), **(more or {})}
        program = shutil.which("git", path=env.get("PATH", ""))
        if program is None:
            raise GitMissing(remote.url)
        with lifeline() as line:  # one that outlived us would hold a clone until its server answers
            ended = await run_process(
                [
                    "/bin/sh",
                    "-c",
                    f'{END_WITH_LIFELINE}\nshift; exec "$@"',
                    "sh",
                    str(line),
                    program,
                    *arguments,
                ],
                cwd=cwd,
                env=env,
                on_line=lines.append,
                grace=1.0,
                stdin=stdin,
                keeps_open=(line, *keeps_open),
            )
        return Said(ended, lines)

    def _environment(self, remote: GitRemote, config: Mapping[str, str]) -> dict[str, str]:
        env = {key: value for key, value in self.environ.items() if not key.startswith("GIT_")}
        env |= {key: self.environ[key] for key in _KEPT if key in self.environ}
        env |= {
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file" if self.is_offline else ":".join(SCHEMES),
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        for name in ("GIT_ASKPASS", "SSH_ASKPASS"):  # nobody is there to be asked
            env[name] = ""
        if remote.ssh_key is not None:
            env["GIT_SSH_COMMAND"] = f"ssh -i {shlex.quote(str(remote.ssh_key))} -o IdentitiesOnly=yes {_SSH}"
        elif "GIT_SSH_COMMAND" not in env and "GIT_SSH" not in env:
            env["GIT_SSH_COMMAND"] = f"ssh {_SSH}"
        settings = {**_CONFIG, **config}
        if remote.is_opened and remote.scheme in ("http", "https"):
            settings[f"credential.{remote.server}.helper"] = _HELPER
            env["SBKUBE_GIT_USERNAME"] = remote.username or "git"  # a token alone is a password
            env["SBKUBE_GIT_PASSWORD"] = remote.password or ""
        return {**env, **_as_variables(settings)}


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Configuration of one process."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
