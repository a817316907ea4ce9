"""`type: noop`: a gate that other apps may depend on."""

from __future__ import annotations

from typing import Literal

from sbkube.apps.base import App


class NoopApp(App):
    type: Literal["noop"]
    description: str | None = None
