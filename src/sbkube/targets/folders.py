"""The folders in a directory target: what they are called, and how they are written, read and removed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from sbkube.targets.trees import digest_tree


def folder_name(app: str) -> str:
    name = quote(app, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Modes do not follow the umask: a repository should not differ from machine to machine."""
    folder.mkdir()
    folder.chmod(0o755)
    for name, content in files.items():
        with open(folder / name, "xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)


def is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def digest_at(folder: Path) -> str | None:
    return digest_tree(folder) if is_folder(folder) else None


def remove(folders: Iterable[Path]) -> None:
    """What cannot be removed now is removed by the next start."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
