"""`sbkube cache`: what was fetched and is kept for the next time, by every project of this user."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import asyncclick as click

from sbkube.cli.console import Console, plural
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.help import PART, Command
from sbkube.cli.options import argument, console_for, option, output_option
from sbkube.cli.tabular import columns
from sbkube.errors import ConfigError

if TYPE_CHECKING:
    from sbkube.fetch.cache import Cache
    from sbkube.fetch.keeping import Kept

T = TypeVar("T")
_SHOWN = 12


@click.command(
    cls=Command,
    name="cache",
    help="List, check or remove what was fetched. Nothing is lost: it can be fetched again. `verify` removes what is "
    "damaged, and ends with exit code 1 if there was any.",
    examples={
        "sbkube cache": "what is kept, the last used first",
        "sbkube cache prune --older-than 30d": "what was not used for a month",
        "sbkube cache prune --max-size 2GB": "the least used, until 2 GB are left",
    },
)
@argument(
    "action",
    required=False,
    type=click.Choice(["list", "path", "verify", "prune"]),
    default="list",
    help="list, path, verify or prune. [default: list]",
)
@option("--older-than", metavar="TIME", group=PART, help="Prune what was not used for so long, as 30d.")
@option("--max-size", metavar="SIZE", group=PART, help="Prune the least used, until this is left, as 2GB.")
@option("--all", "everything", is_flag=True, group=PART, help="Prune all that no run may be reading.")
@output_option("text", "json")
async def command(
    *, action: str, older_than: str | None, max_size: str | None, everything: bool, output: Any
) -> int:
    from anyio.to_thread import run_sync

    from sbkube.fetch.cache import Cache, cache_folder

    limits = _limits(older_than, max_size, everything)
    if action == "prune" and not limits:
        raise click.UsageError("prune needs --older-than, --max-size or --all")
    if action != "prune" and limits:
        raise click.UsageError("--older-than, --max-size and --all go with `sbkube cache prune`")
    console, cache = console_for(output), Cache(cache_folder(os.environ))
    return await run_sync(_ACTIONS[action], cache, console, limits)


def _limits(older_than: str | None, max_size: str | None, everything: bool) -> dict[str, Any]:
    from sbkube.apps.fields import seconds, size

    limits: dict[str, Any] = {"largest": 0} if everything else {}
    if older_than is not None:
        limits["oldest"] = _read(seconds, "--older-than", older_than)
    if max_size is not None:
        limits.setdefault("largest", _read(size, "--max-size", max_size))
    return limits


def _read(read: Callable[[object], T], flag: str, text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(f"`{flag}` {error}") from None


def _list(cache: Cache, console: Console, _: dict[str, Any]) -> int:
    from sbkube.fetch.keeping import kept

    found = kept(cache)
    if console.output == "json":
        console.data(_document(cache, "kept", found))
        return OK
    if found:
        console.data(_table(found))
    console.say(f"{_told(found)} in {cache.folder}")
    return OK


def _path(cache: Cache, console: Console, _: dict[str, Any]) -> int:
    folder = str(cache.folder)
    console.data(json.dumps({"folder": folder}, indent=2) if console.output == "json" else folder)
    return OK


def _verify(cache: Cache, console: Console, _: dict[str, Any]) -> int:
    """Clones are checked by git, whenever it reads one."""
    from sbkube.fetch.keeping import Kept

    count = len(cache.blobs())
    damaged = [Kept("file", it.digest, it.size, it.used, cache.came(it.digest)) for it in cache.verify()]
    if console.output == "json":
        console.data(_document(cache, "damaged", damaged))
    else:
        if damaged:
            console.data(_table(damaged))
        told = "none is damaged" if not damaged else f"{len(damaged)} of them damaged and removed"
        console.say(f"{plural(count, 'file')} in {cache.folder}: {told}", "bad" if damaged else "good")
    return STEP_FAILED if damaged else OK


def _prune(cache: Cache, console: Console, limits: dict[str, Any]) -> int:
    from sbkube.fetch.keeping import kept, prune

    removed = prune(cache, **limits)
    if console.output == "json":
        console.data(_document(cache, "removed", removed))
        return OK
    if removed:
        console.data(_table(removed))
    left = kept(cache)
    console.say(f"removed {_told(removed)} from {cache.folder}; left: {_told(left)}")
    if limits.get("largest") is not None and sum(one.size for one in left) > limits["largest"]:
        console.say("what was used in the last 10 minutes stays: a run may be about to read it", "dim")
    return OK


_ACTIONS = {"list": _list, "path": _path, "verify": _verify, "prune": _prune}


def _told(found: Sequence[Kept]) -> str:
    files = sum(one.kind == "file" for one in found)
    clones = f" and {plural(len(found) - files, 'clone')}" if files < len(found) else ""
    return f"{plural(files, 'file')}{clones}, {_size(sum(one.size for one in found))}"


def _table(found: Sequence[Kept]) -> str:
    rows = [["digest", "kind", "size", "last used", "from"]]
    for one in found:
        day = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d")
        rows.append([one.digest[:_SHOWN], one.kind, _size(one.size), day, one.came or ""])
    return columns(rows)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _document(cache: Cache, what: str, found: Sequence[Kept]) -> str:
    entries = [
        {
            "kind": one.kind,
            "digest": one.digest,
            "size": one.size,
            "used_at": datetime.fromtimestamp(one.used, UTC).isoformat(timespec="seconds"),
            "from": one.came,
        }
        for one in found
    ]
    size = sum(one.size for one in found)
    return json.dumps({"folder": str(cache.folder), "size": size, what: entries}, indent=2)
