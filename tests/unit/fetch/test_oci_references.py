"""Names of charts in registries, and versions as tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.fetch.oci_errors import BadReference, WrongPin
from sbkube.fetch.oci_logins import challenges
from sbkube.fetch.oci_references import Reference, nearest, tag_of, version_of, versions_among

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oci://example.com/web", Reference("example.com", "web")),
        ("oci://example.com:5000/a/b-c/web", Reference("example.com:5000", "a/b-c/web")),
        ("oci://example.com/a/web:1.0.0+build", Reference("example.com", "a/web", "1.0.0_build")),
        (f"oci://example.com/a/web@{DIGEST}", Reference("example.com", "a/web", None, DIGEST)),
        (f"oci://[::1]:5000/web:1@{DIGEST}", Reference("[::1]:5000", "web", "1", DIGEST)),
    ],
)
def test_a_reference_is_taken_apart_and_put_together_again(text: str, found: Reference) -> None:
    assert Reference.of(text) == found
    assert str(found) == text.replace("+", "_")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("oci://example.com", "names no chart"),
        ("oci:///web", "has no host"),
        ("oci://example.com/Web", "has capital letters"),
        ("oci://example.com/a//web", "has a path that is none in a registry"),
        ("oci://example.com/web:-1", "has a tag that cannot be one"),
        ("oci://example.com:port/web", "has no host"),
        ("oci://example.com?x/web", "has no host"),
        ("oci://example.com#/web", "has no host"),
        ("oci://exa mple.com/web", "has no host"),
        ("oci://example.com/web@sha512:00", "has an `@` that no digest follows"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadReference, match=why):
        Reference.of(text)


def test_a_password_before_the_host_is_refused_and_not_told() -> None:
    for text in ("oci://me:canary@example.com/web", "oci://me:ca/nary@example.com/web"):
        with pytest.raises(BadReference) as caught:
            Reference.of(text)
        assert "nary" not in f"{caught.value} {caught.value.hint}"


def test_docker_hub_is_asked_at_its_own_server() -> None:
    assert Reference.of("oci://docker.io/charts/web").url(plain=False) == (
        "https://registry-1.docker.io/v2/charts/web"
    )


def test_a_version_beside_a_tag_must_be_the_same() -> None:
    reference = Reference.of("oci://example.com/web:1.0.0_b1")
    assert reference.agreed(None) == "1.0.0+b1"
    assert reference.agreed("1.0.0+b1") == "1.0.0+b1"
    with pytest.raises(WrongPin, match=r"is tag '1.0.0_b1', and '1.0.1' is wanted"):
        reference.agreed("1.0.1")


def test_only_whole_versions_are_taken_from_tags_the_newest_first() -> None:
    tags = [
        "latest",
        "1.0.0",
        "v2.0.0",
        "1.2",
        "1.10.0",
        "1.9.0_b.1",
        "01.0.0",
        "2.0.0-rc.1",
        "sha256-00.sig",
    ]
    assert versions_among(tags) == ["2.0.0-rc.1", "1.10.0", "1.9.0+b.1", "1.0.0"]


@given(
    st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-[a-z0-9.]{1,5})?(\+[a-z0-9.]{1,5})?", fullmatch=True)
)
def test_a_tag_stands_for_the_version_it_was_made_of(version: str) -> None:
    assert version_of(tag_of(version)) in (version, None)


def test_the_entry_that_is_nearest_to_a_chart_opens_it() -> None:
    places = ("example.com", "example.com/team", "example.com:5000")
    for text, place in (
        ("oci://example.com/team/web", "example.com/team"),
        ("oci://example.com/teams/web", "example.com"),
        ("oci://example.com:5000/team/web", "example.com:5000"),
        ("oci://example.org/web", None),
    ):
        assert nearest(Reference.of(text), places) == place


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="a, b"', {"basic": {"realm": "a, b"}}),
        (
            'Bearer realm="https://t/x?a=1",service="s",scope="repository:a/b:pull,push"',
            {"bearer": {"realm": "https://t/x?a=1", "service": "s", "scope": "repository:a/b:pull,push"}},
        ),
        (
            'Negotiate, BEARER Realm = "x\\"y" , service=plain, basic realm="z"',
            {"negotiate": {}, "bearer": {"realm": 'x"y', "service": "plain"}, "basic": {"realm": "z"}},
        ),
        ("", {}),
    ],
)
def test_challenges_are_read_by_scheme(header: str, found: dict[str, dict[str, str]]) -> None:
    assert challenges(header) == found
