"""The JSON Schema of `sbkube.yaml`."""

from __future__ import annotations

import json
from typing import Any

from sbkube.apps.types import APP_TYPES
from sbkube.config.schema import json_schema


def definition(schema: dict[str, Any], name: str) -> Any:
    return schema["$defs"][name]


def test_the_schema_is_json_and_strict_about_keys() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["additionalProperties"] is False
    assert {"apiVersion", "settings", "apps", "defaults", "limits", "target", "phases"} <= schema[
        "properties"
    ].keys()


def test_every_type_of_app_is_in_the_schema_with_all_its_fields() -> None:
    schema = json_schema()
    apps = schema["properties"]["apps"]["additionalProperties"]
    assert apps["discriminator"]["mapping"].keys() == APP_TYPES.keys()
    for model in APP_TYPES.values():
        described = definition(schema, model.__name__)
        assert described["properties"].keys() == model.model_fields.keys()
        assert described["additionalProperties"] is False


def test_durations_are_texts_or_numbers_in_the_schema() -> None:
    timeout = definition(json_schema(), "HelmApp")["properties"]["timeout"]
    assert [kind["type"] for kind in timeout["anyOf"]] == ["string", "number"]


def test_a_dependency_may_be_written_as_a_name_in_the_schema() -> None:
    items = definition(json_schema(), "NoopApp")["properties"]["depends_on"]["items"]
    assert {"type": "string", "minLength": 1} in items["anyOf"]
