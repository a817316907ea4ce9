"""`kubectl`, for what Helm does not do: taking fields over, dry runs on the server, questions about rights.

Everything it is given goes through its standard input, everything it says comes back as text; its context and
kubeconfig are always said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from sbkube.errors import SbkubeError
from sbkube.helm.releases import Cluster
from sbkube.process import run_process
from sbkube.targets.base import Log, ObjectAction, Verb

from .kubeconfig import DEFAULTING, with_default_namespace
from .passing import Passing, passing

TIME_LIMIT = 120.0
MANAGER = "helm"
"""Helm's own field manager, so that what is applied here is Helm's to change."""

_FLAGS: Mapping[Verb, Sequence[str]] = {
    # What people had was the client's apply, which lets nobody's fields stand in its way and refuses what is larger than
    # an annotation. The server's takes over what the client's has left, knows no such limit, and is asked to insist too.
    "apply": ("--server-side", "--force-conflicts"),
    "create": (),
    "delete": ("--ignore-not-found",),
}


class KubectlFailed(SbkubeError):
    def __init__(self, doing: str, text: str) -> None:
        super().__init__(f"`kubectl {doing}` failed: {text.strip()[:4000]}")
        self.text = text
        self.transient = passing(text) is not Passing.NO


class KubectlMissing(SbkubeError):
    def __init__(self, why: str) -> None:
        super().__init__(f"no `kubectl` on PATH, which {why} needs", hint="install kubectl")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    text: str
    errors: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    program: str
    cluster: Cluster
    environ: Mapping[str, str]

    @classmethod
    def find(cls, cluster: Cluster, environ: Mapping[str, str]) -> Kubectl | None:
        program = shutil.which("kubectl", path=environ.get("PATH"))
        return cls(program, cluster, environ) if program else None

    async def run(
        self,
        *arguments: str,
        stdin: str | None = None,
        time_limit: float = TIME_LIMIT,
        may_fail: bool = False,
    ) -> tuple[int, str]:
        """Exit code and output, standard error merged. Raises `KubectlFailed` unless it may fail."""
        lines: list[str] = []
        ended = await run_process(
            [self.program, *self._where(), *arguments],
            cwd=Path(os.sep),
            env=self._environment(),
            on_line=lines.append,
            time_limit=time_limit,
            grace=1.0,
            stdin=None if stdin is None else stdin.encode(),
        )
        output = "\n".join(lines)
        if ended.code and not may_fail:
            raise KubectlFailed(arguments[0], output)
        return ended.code, output

    async def take_over(self, manifests: str, namespace: str) -> str:
        """Applies as Helm will, and takes the fields that others manage: fields removed later would stay for ever."""
        flags = ["--server-side", f"--field-manager={MANAGER}", "--force-conflicts", "--namespace", namespace]
        _, output = await self.run("apply", *flags, "-f", "-", stdin=manifests)
        return output

    async def act(self, action: ObjectAction, log: Log) -> None:
        """Each line it says goes to the log. Raises `KubectlFailed`."""
        said: list[str] = []

        async def on_line(line: str) -> None:
            said.append(line)
            await log(line)

        with self._defaulting_to(action) as (kubectl, where):
            ended = await run_process(
                [self.program, *kubectl._where(), *where, action.verb, *_flags(action), "-f", action.source],
                cwd=Path(os.sep),
                env=kubectl._environment(),
                on_line=on_line,
                grace=1.0,
            )
            if ended.ok or (action.verb == "delete" and _are_unknown_kinds(said)):
                return
            if action.verb == "create" and _are_there(said) and await kubectl._has_created(action, where):
                await log("what was there has been created by an earlier attempt of this step")
                return
        raise _failed(action, "\n".join(said) or str(ended))

    async def _has_created(self, action: ObjectAction, where: Sequence[str]) -> bool:
        """Every object of it, in this attempt or in one that it repeats."""
        if not action.key:
            return False
        found = await self.json("get", *where, "-f", action.source, "--show-managed-fields")
        return all(_mark(action) in _managers(one) for one in found.get("items", [found]))

    @contextmanager
    def _defaulting_to(self, action: ObjectAction) -> Iterator[tuple[Kubectl, Sequence[str]]]:
        """`--namespace` would refuse what names another; the namespace of a context is only a default."""
        if not action.namespace:
            yield self, ()
        elif action.is_only_namespace:
            yield self, ("--namespace", action.namespace)
        else:
            with tempfile.NamedTemporaryFile("w", prefix="sbkube-", suffix=".yaml") as file:
                file.write(with_default_namespace(self.cluster, action.namespace))
                file.flush()
                paths = os.pathsep.join(filter(None, (file.name, self.cluster.kubeconfig)))
                yield replace(self, cluster=Cluster(paths, DEFAULTING)), ()

    async def create_namespace(self, name: str) -> None:
        """It may be there already."""
        code, output = await self.run("create", "namespace", name, may_fail=True)
        if code and "AlreadyExists" not in output and "already exists" not in output:
            raise KubectlFailed("create namespace", output)

    async def say(self, *arguments: str, stdin: str | None = None, time_limit: float = TIME_LIMIT) -> Said:
        """Exit code, and standard output to the byte, apart from errors and warnings."""
        errors: list[str] = []
        with tempfile.TemporaryDirectory(prefix="sbkube-kubectl-") as folder:
            output = Path(folder, "output")
            ended = await run_process(
                ["/bin/sh", "-c", _INTO_FILE, "sh", str(output), self.program, *self._where(), *arguments],
                cwd=Path(os.sep),
                env=self._environment(),
                on_line=errors.append,
                time_limit=time_limit,
                grace=1.0,
                stdin=None if stdin is None else stdin.encode(),
            )
            text = await run_sync(_content, output)
        return Said(ended.code, text, "\n".join(errors))

    async def json(self, *arguments: str, stdin: str | None = None) -> Any:
        """What a command prints as JSON. Raises `KubectlFailed`."""
        said = await self.say(*arguments, "-o", "json", stdin=stdin)
        if said.code:
            raise KubectlFailed(arguments[0], said.errors)
        return json.loads(said.text)

    def _environment(self) -> Mapping[str, str]:
        return {**self.environ, **self.cluster.environment()}

    def _where(self) -> Sequence[str]:
        return ["--context", self.cluster.context] if self.cluster.context else []


def _flags(action: ObjectAction) -> Sequence[str]:
    return [*_FLAGS[action.verb], *([f"--field-manager={_mark(action)}"] if action.verb == "create" else ())]


def _mark(action: ObjectAction) -> str:
    """As who it creates: by this an attempt knows what an earlier one has made before it was cut off."""
    return f"sbkube-{action.key}" if action.key else "sbkube"


def _managers(found: Mapping[str, Any]) -> set[str]:
    return {one.get("manager", "") for one in found["metadata"].get("managedFields", ())}


def _failed(action: ObjectAction, said: str) -> KubectlFailed:
    error = KubectlFailed(action.verb, said)
    if action.verb == "create" and error.transient:
        # An object whose name is generated would be there twice.
        error.transient = passing(said) is Passing.REFUSED and not _CREATED.search(said)
        error.hint = "`sbkube run --resume` creates what is not there yet"
    return error


_CREATED = re.compile(r" created$", re.MULTILINE)


def _are_there(said: Sequence[str]) -> bool:
    """Nothing else was wrong."""
    wrong = [line for line in said if not _CREATED.search(line) and not line.startswith("Warning: ")]
    return bool(wrong) and all("(AlreadyExists)" in line for line in wrong)


def _are_unknown_kinds(said: Sequence[str]) -> bool:
    """Nothing of a kind that the server does not know can be there. The rest of a file is deleted all the same."""
    wrong = [line for line in said if " deleted" not in line and line != "ensure CRDs are installed first"]
    return bool(wrong) and all("no matches for kind" in line for line in wrong)


_INTO_FILE = 'output=$1; shift; exec "$@" >"$output"'


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
