"""The `apps` of a file: each checked after its type, with `defaults`, and all together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sbkube.apps.base import App, Dependency
from sbkube.apps.fields import Spellings
from sbkube.apps.types import APP_TYPES, FORMER_TYPES
from sbkube.config.checking import Problems
from sbkube.config.layers import Path
from sbkube.config.problems import close, nearest
from sbkube.documents import describe

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NO_DEFAULTS = frozenset({"type", "depends_on"})
_AS_THE_MANIFEST_SAYS = frozenset({"", "!none", "!ignore", "!false"})


def read_apps(
    raw: Mapping[str, Any], *, at: Path, defaults: Mapping[str, Any], problems: Problems
) -> tuple[dict[str, App], dict[str, Spellings]]:
    """The valid apps in the order of the file, and how each was spelled."""
    apps: dict[str, App] = {}
    spelled: dict[str, Spellings] = {}
    for name, fields in raw.items():
        _check_name(name, (*at, name), problems)
        model = _model(name, fields, (*at, name), problems)
        if model is None:
            continue
        spelled[name] = Spellings()
        under = {
            key: value for key, value in defaults.items() if key in model.model_fields.keys() - _NO_DEFAULTS
        }
        app = problems.validate(
            model, fields, at=(*at, name), of=f"app {name!r}", under=under, spellings=spelled[name]
        )
        if app is not None:
            apps[name] = app
    _check_dependencies(apps, raw, at, problems)
    return apps, spelled


def check_defaults(defaults: Mapping[str, Any], problems: Problems) -> None:
    known = {field for model in APP_TYPES.values() for field in model.model_fields} - _NO_DEFAULTS
    for key in defaults:
        if key in _NO_DEFAULTS:
            problems.add(f"`{key}` cannot be a default", ("defaults", key))
        elif key not in known:
            problems.add(f"no type of app has a field `{key}`", ("defaults", key), nearest(key, known))


def with_namespace(app: App, namespace: str) -> App:
    """No namespace is the file's; some words mean that the manifests say it themselves."""
    own = namespace if app.namespace is None else app.namespace
    return app.model_copy(update={"namespace": "" if own in _AS_THE_MANIFEST_SAYS else own})


def _check_name(name: str, path: Path, problems: Problems) -> None:
    if _NAME.fullmatch(name) and len(name) <= 63:
        return
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    problems.add(
        f"the app name {name!r} must consist of at most 63 lower-case letters, digits and inner dashes",
        path,
        f"call it `{better}`" if better else None,
    )


def _model(name: str, fields: Any, path: Path, problems: Problems) -> type[App] | None:
    if not isinstance(fields, Mapping):
        problems.add(f"app {name!r} must be a mapping with a `type`, not {describe(fields)}", path)
        return None
    kind = fields.get("type")
    types = ", ".join(APP_TYPES)
    if kind is None:
        problems.add(f"`type` of app {name!r} is missing", path, f"types are: {types}")
    elif isinstance(kind, str) and kind in APP_TYPES:
        return APP_TYPES[kind]
    elif isinstance(kind, str) and kind in FORMER_TYPES:
        hint = f"write `type: {FORMER_TYPES[kind]}`, with the fields under `specs` directly in the app"
        problems.add(f"`type: {kind}` of app {name!r} is of an older sbkube", (*path, "type"), hint)
    else:
        given = repr(kind) if isinstance(kind, str) else describe(kind)
        problems.add(
            f"`type` of app {name!r} must be one of {types}, not {given}",
            (*path, "type"),
            close(kind, APP_TYPES, cutoff=0.4) if isinstance(kind, str) else None,
        )
    return None


def _check_dependencies(
    apps: Mapping[str, App], raw: Mapping[str, Any], at: Path, problems: Problems
) -> None:
    for name, app in apps.items():
        for index, needed in enumerate(app.depends_on):
            path = (*at, name, "depends_on", index)
            if needed.app == name:
                problems.add(f"app {name!r} depends on itself", path)
            elif needed.app not in raw and not needed.optional:
                hint = nearest(needed.app, raw)
                problems.add(f"app {name!r} depends on {needed.app!r}, which is not in this file", path, hint)
            elif needed.app in apps:
                _check_stage(name, needed, apps[needed.app], path, problems)
                if app.enabled and not apps[needed.app].enabled and not needed.optional:
                    problems.notice(f"app {name!r} depends on {needed.app!r}, which is disabled", path)
    _check_cycle(apps, at, problems)


def _check_stage(name: str, needed: Dependency, other: App, path: Path, problems: Problems) -> None:
    if needed.stage is not None and needed.stage not in other.stages:
        stages = ", ".join(other.stages) or "none"
        problems.add(
            f"app {name!r} waits for {needed.stage} of {needed.app!r}, whose stages are: {stages}", path
        )


def _check_cycle(apps: Mapping[str, App], at: Path, problems: Problems) -> None:
    """A need of an early stage alone may go against the order of the deploys."""
    graph = {
        name: [
            needed.app
            for needed in app.depends_on
            if needed.app in apps and needed.app != name and needed.stage in (None, "deploy")
        ]
        for name, app in apps.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        index = [needed.app for needed in apps[cycle[0]].depends_on].index(cycle[1])
        path = (*at, cycle[0], "depends_on", index)
        problems.add(f"apps depend on each other in a circle: {' -> '.join(cycle)}", path)
