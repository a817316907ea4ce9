"""Where images stand in objects."""

from __future__ import annotations

from typing import Any

import pytest

from sbkube.operations.images import images_of

POD = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"template": {"spec": POD}}


def found(document: Any) -> list[tuple[str, str, str]]:
    return [(str(id), name, image) for id, name, image in images_of(document)]


def an_object(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **fields}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Pod", {"spec": POD}),
        *(
            (kind, {"spec": TEMPLATE})
            for kind in (
                "Deployment",
                "StatefulSet",
                "DaemonSet",
                "ReplicaSet",
                "ReplicationController",
                "Job",
            )
        ),
        ("CronJob", {"spec": {"jobTemplate": {"spec": TEMPLATE}}}),
        ("PodTemplate", TEMPLATE),
        ("Rollout", {"spec": TEMPLATE}),
        ("Workflow", {"spec": {"templates": [POD]}}),
        ("Prometheus", {"spec": POD}),
    ],
)
def test_a_container_is_found_in_every_kind_that_has_pods_and_in_custom_ones(
    kind: str, fields: dict[str, Any]
) -> None:
    assert found(an_object(kind, **fields)) == [(f"{kind} x", "c", "i")]


def test_containers_of_every_sort_and_image_volumes_are_found() -> None:
    spec = {
        "initContainers": [{"name": "a", "image": "1"}],
        "containers": [{"name": "b", "image": " 2 "}],
        "ephemeralContainers": [{"name": "c", "image": "3"}],
        "volumes": [{"name": "d", "image": {"reference": "4", "pullPolicy": "Always"}}, {"name": "e"}],
    }
    assert [image for *_, image in found(an_object("Pod", spec=spec))] == ["1", "2", "3", "4"]


def test_items_of_lists_are_objects_on_their_own_and_a_generated_name_is_as_good_as_another() -> None:
    job = {"kind": "Job", "metadata": {"generateName": "seed-", "namespace": "n"}, "spec": TEMPLATE}
    listed = {"kind": "List", "items": [an_object("Pod", spec=POD), job]}
    assert found(listed) == [("Pod x", "c", "i"), ("Job n/seed-", "c", "i")]


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "i"},
        {"containers": {"image": "i"}},
        {"containers": ["i", None, {"image": None}, {"image": ""}, {"image": {"tag": "1"}}]},
        {"volumes": [{"image": "i"}, {"image": {"reference": 1}}]},
    ],
)
def test_what_only_looks_like_one_is_none(spec: Any) -> None:
    assert found(an_object("Prometheus", spec=spec)) == []


@pytest.mark.parametrize("document", [None, "text", [], {}, {"metadata": "odd"}])
def test_what_is_no_object_has_none(document: Any) -> None:
    assert found(document) == []
