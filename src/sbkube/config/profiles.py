"""What `--profile P` means: files laid over the usual ones, and where values files are looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sbkube.config.files import SUFFIXES, MissingConfig, existing, find_config, find_named
from sbkube.config.problems import Notice
from sbkube.errors import ConfigError, Position


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """`overlay` is merged into `config`; there is one sources file at most."""

    config: Path
    overlay: Path | None = None
    sources: Path | None = None
    notices: tuple[Notice, ...] = ()


def choose_files(
    folder: Path, profile: str | None, config_file: str | Path | None, sources_file: str | Path | None
) -> ProjectFiles:
    if config_file is None:
        config, notices = find_config(folder)
    else:
        config, notices = find_named(config_file, [folder, Path()]), []
    if profile is not None and ("/" in profile or profile in ("", ".", "..")):
        raise ConfigError(f"{profile!r} is no name for a profile")
    home = config.parent
    overlay = _overlay(config, profile)
    if sources_file is not None:
        sources: Path | None = find_named(sources_file, [home, home.parent, Path()])
    else:
        sources = _sources(home, profile, config)
    if profile is not None and not _exists(home, profile, [config, overlay, sources]):
        raise _no_profile(home, profile)
    said = tuple(Notice(Position(config), text) for text in notices)
    return ProjectFiles(config, overlay, sources, said)


def _overlay(config: Path, profile: str | None) -> Path | None:
    stems = () if profile is None else tuple(dict.fromkeys((f"{config.stem}-{profile}", f"config-{profile}")))
    return next((path for path in existing([config.parent], stems) if path != config), None)


def _sources(home: Path, profile: str | None, config: Path) -> Path | None:
    """That of the profile takes the place of the usual one, which `sbkube.yaml` does without."""
    stems = [] if profile is None else [f"sources-{profile}"]
    if not config.stem.startswith("sbkube"):
        stems.append("sources")
    return next((found for stem in stems for found in existing([home, home.parent], [stem])), None)


def _exists(home: Path, profile: str, files: Iterable[Path | None]) -> bool:
    """A profile may consist of values alone."""
    named = any(path is not None and path.stem.endswith(f"-{profile}") for path in files)
    return named or (home / "values" / profile).is_dir()


def _no_profile(home: Path, profile: str) -> MissingConfig:
    known = sorted(
        {
            path.stem.partition("-")[2]
            for path in home.iterdir()
            if path.suffix in SUFFIXES and path.stem.startswith(("config-", "sbkube-", "sources-"))
        }
    )
    return MissingConfig(
        f"there is no profile {profile!r}: no `config-{profile}.yaml`, `sources-{profile}.yaml` "
        f"or folder `values/{profile}` in {home}",
        hint=f"profiles here: {', '.join(known)}" if known else None,
    )


def values_candidates(folder: Path, profile: str | None, name: str) -> list[Path]:
    """Where a values file may be, the first wins. Without a profile the plain path is what is meant."""
    path = Path(name).expanduser()
    if path.is_absolute():
        return [path]
    values = folder / "values"
    if profile is None:
        return [folder / path, values / path, values / "common" / path]
    return [values / profile / path, values / "common" / path, values / path, folder / path]
