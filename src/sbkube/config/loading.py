"""From a folder to a checked project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbkube.apps.base import App
from sbkube.apps.fetched import fetched_by
from sbkube.apps.fields import Spellings
from sbkube.config.apps import check_defaults, read_apps, with_namespace
from sbkube.config.checking import Problems
from sbkube.config.files import LEVELS_ABOVE, existing, find_project, read_document, read_sources
from sbkube.config.layers import Layer, Layers
from sbkube.config.models import API_VERSION, SETTING_KEYS, Directory, ProjectFile, Settings
from sbkube.config.not_yet import refuse_not_yet
from sbkube.config.problems import Notice, told
from sbkube.config.profiles import ProjectFiles, choose_files
from sbkube.config.project import Project
from sbkube.documents import describe, merge
from sbkube.fetch.lockfile import read_lock

__all__ = ["find_project", "load_project", "refuse_not_yet"]

_INHERITED = ("namespace", "kubeconfig", "kubeconfig_context", "helm_repos", "oci_registries", "git_repos")
_UNIFIED = frozenset({"apiVersion", "metadata", "settings", "phases"})
_AT_THE_TOP_OF_CONFIG = frozenset({"namespace", "global_labels", "global_annotations"})


def load_project(
    folder: Path,
    *,
    profile: str | None = None,
    config_file: str | Path | None = None,
    sources_file: str | Path | None = None,
    environ: Mapping[str, str],
) -> Project:
    """All of a project's files read, merged and checked; up to ten problems are reported together."""
    profile = profile or environ.get("SBKUBE_PROFILE") or None
    chosen = choose_files(folder, profile, config_file, sources_file)
    merged = _Merged()
    _read(chosen, merged)
    return _checked(chosen, profile, merged)


@dataclass(slots=True)
class _Merged:
    """The files in one shape, that of `sbkube.yaml`, and the layers they came from."""

    data: dict[str, Any] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    hints: list[tuple[str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def lay(self, layer: Layer, data: Mapping[str, Any]) -> None:
        self.layers.append(layer)
        self.data = merge(self.data, data)


def _read(chosen: ProjectFiles, merged: _Merged) -> None:
    own = read_document(chosen.config)
    unified = chosen.config.stem.startswith(("sbkube", "workspace")) or bool(_UNIFIED & own.mapping().keys())
    if unified or chosen.sources is None:
        _inherit(chosen.config.parent, merged)
    if not unified:
        _lay_sources(chosen, merged)
    for document in [own] if chosen.overlay is None else [own, read_document(chosen.overlay)]:
        merged.lay(Layer(document), _lifted(document.mapping(), unified, merged))
    if unified:
        _lay_sources(chosen, merged)


def _lay_sources(chosen: ProjectFiles, merged: _Merged) -> None:
    if chosen.sources is None:
        return
    documents, data = read_sources(chosen.sources)
    if isinstance(data.get("settings"), dict):
        data = merge({key: value for key, value in data.items() if key != "settings"}, data["settings"])
    top = {key: data.pop(key) for key in ("app_dirs",) if key in data}
    for document in documents[:-1]:
        merged.layers.append(Layer(document))
    merged.lay(Layer(documents[-1]), {"settings": data, **top})


def _inherit(folder: Path, merged: _Merged) -> None:
    """Some settings come from each `sbkube.yaml` above, the nearest wins."""
    above = list(folder.absolute().parents)[:LEVELS_ABOVE]
    for path in reversed([path for parent in above for path in list(existing([parent], ["sbkube"]))[:1]]):
        document = read_document(path)
        settings = document.mapping().get("settings")
        taken = (
            {key: settings[key] for key in _INHERITED if key in settings}
            if isinstance(settings, dict)
            else {}
        )
        if taken:
            merged.lay(Layer(document, settings_only=True), {"settings": taken})
            names = ", ".join(f"`{key}`" for key in taken)
            merged.notices.append(
                Notice(document.position(["settings"]), f"settings are taken from here too: {names}")
            )


def _lifted(data: Mapping[str, Any], unified: bool, merged: _Merged) -> dict[str, Any]:
    """What stands at the top of a file and belongs to the settings goes there."""
    settings = data.get("settings") or {}
    if not isinstance(settings, dict):
        return dict(data)
    lifted = {key: value for key, value in data.items() if key in SETTING_KEYS and key not in settings}
    for key in lifted:
        if unified or key not in _AT_THE_TOP_OF_CONFIG:
            where = "under `settings`" if unified else "in `sources.yaml`"
            merged.hints.append((key, f"`{key}` belongs {where}"))
    rest = {key: value for key, value in data.items() if key not in lifted}
    return {**rest, "settings": {**settings, **lifted}} if lifted else rest


def _checked(chosen: ProjectFiles, profile: str | None, merged: _Merged) -> Project:
    layers = Layers(merged.layers)
    problems = Problems(layers)
    problems.notices += [*chosen.notices, *merged.notices]
    for key, text in merged.hints:
        problems.notice(text, ("settings", key))
    data = _with_mapping_of_apps(merged.data, problems)
    file = problems.validate(ProjectFile, data, at=(), of="") or ProjectFile()
    settings = _settings(data, problems)
    defaults = file.defaults
    check_defaults(defaults, problems)
    apps, spelled = read_apps(_mapping(data, "apps"), at=("apps",), defaults=defaults, problems=problems)
    for name, phase in file.phases.items():
        at = ("phases", name)
        read_apps(phase.apps, at=(*at, "apps"), defaults=defaults, problems=problems)
        problems.validate(
            Settings, phase.settings, at=(*at, "settings"), of=f"the settings of phase {name!r}"
        )
    problems.raise_any()
    return _project(chosen, profile, layers, problems, file, settings, apps, spelled)


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _settings(data: Mapping[str, Any], problems: Problems) -> Settings:
    key = "global" if "global" in data and "settings" not in data else "settings"
    raw = _mapping(data, key)
    return problems.validate(Settings, raw, at=(key,), of="the settings") or Settings()


def _with_mapping_of_apps(data: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """`apps` as a list is the form of 0.1, which says more by an example than by a type."""
    apps = data.get("apps")
    if not isinstance(apps, list):
        return data
    first = apps[0] if apps and isinstance(apps[0], dict) else {}
    problems.add(
        f"`apps` must be a mapping of names to apps, not {describe(apps)}, which was the form of sbkube 0.1",
        ("apps",),
        f"write `{first.get('name', 'redis')}: {{type: helm, …}}` for `- name: {first.get('name', 'redis')}`",
    )
    return {**data, "apps": {}}


def _project(
    chosen: ProjectFiles,
    profile: str | None,
    layers: Layers,
    problems: Problems,
    file: ProjectFile,
    settings: Settings,
    apps: Mapping[str, App],
    spelled: Mapping[str, Spellings],
) -> Project:
    namespace = settings.namespace or "default"
    if chosen.config.stem.startswith("sbkube") and file.apiVersion is None:
        problems.notice(f"`apiVersion: {API_VERSION}` is missing", ())
    if file.deps:
        problems.notice("`deps` names groups outside this project, which are not checked", ("deps",))
    return Project(
        folder=chosen.config.parent,
        config_file=chosen.config,
        files=tuple(dict.fromkeys(layer.document.file for layer in layers.layers)),
        profile=profile,
        namespace=namespace,
        settings=settings,
        apps={name: with_namespace(app, namespace) for name, app in apps.items()},
        target=Path(file.target.directory) if isinstance(file.target, Directory) else file.target,
        lock=file.lock,
        limits=file.limits,
        notices=told(problems.notices),
        metadata=file.metadata,
        phases=file.phases,
        app_dirs=file.app_dirs,
        deps=file.deps,
        hooks=file.hooks,
        fetched=fetched_by(apps),
        pins=read_lock(chosen.config, profile),
        _layers=layers,
        _spelled=spelled,
    )
