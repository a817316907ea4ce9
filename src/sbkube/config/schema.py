"""The JSON Schema of `sbkube.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from sbkube.apps.types import AnyApp
from sbkube.config.models import ProjectFile, Settings


class _WholeFile(ProjectFile):
    settings: Settings = Settings()  # type: ignore[assignment]
    apps: dict[str, AnyApp] = {}


def json_schema() -> dict[str, Any]:
    schema = _WholeFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "sbkube.yaml"
    return schema
