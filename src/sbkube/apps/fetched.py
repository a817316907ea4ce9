"""Which apps of a project fetch, and under which paths others know what they fetch."""

from __future__ import annotations

from collections.abc import Mapping

from sbkube.apps.base import App
from sbkube.apps.git import GitApp
from sbkube.apps.http import HttpApp
from sbkube.apps.sought import Fetched, Source

_CLONES = ("repos", ".sbkube/repos")
"""Where clones lay, once and later."""


def fetched_by(apps: Mapping[str, App]) -> Fetched:
    """A clone is known by its app's name, and by that of its entry in `git_repos`, under which it once lay."""
    clones = {name: app for name, app in apps.items() if isinstance(app, GitApp)}
    own = {name: Source(name, only=app.path, is_enabled=app.enabled) for name, app in clones.items()}
    by_entry = {app.repo: own[name] for name, app in reversed(clones.items()) if "/" not in app.repo}
    named = {**by_entry, **own}
    at = {f"{home}/{name}": source for name, source in named.items() for home in _CLONES}
    for name, app in apps.items():
        if isinstance(app, HttpApp):
            at[app.dest] = Source(name, app.dest, is_enabled=app.enabled)
    return Fetched(named, at)
