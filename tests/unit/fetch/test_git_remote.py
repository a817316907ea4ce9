"""Where a repository is, by what is written: credentials leave the URL, and what runs programs is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.fetch.git_remote import BadGitUrl, GitRemote, without_credentials

HERE = Path("/srv/project")


def of(text: str) -> GitRemote:
    return GitRemote.of(text, HERE)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.com/a/b.git", "https://example.com/a/b.git"),
        ("https://example.com/a/b/", "https://example.com/a/b"),
        ("https://me:secret@example.com:8443/a", "https://example.com:8443/a"),
        ("HTTPS://Example.com/a", "https://example.com/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("ssh://git@example.com/a", "ssh://git@example.com/a"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("git://example.com/a", "git://example.com/a"),
        ("file:///srv/a", "file:///srv/a"),
        ("/srv/a", "file:///srv/a"),
        ("./a", "file:///srv/project/a"),
        ("../a", "file:///srv/a"),
    ],
)
def test_what_may_be_fetched_from_has_one_url_without_credentials(text: str, url: str) -> None:
    assert of(text).url == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ext::sh -c 'touch x'", "has a sign that no URL has"),
        ("ext::false", "a transport that runs programs is not allowed"),
        ("fd::17", "a transport that runs programs is not allowed"),
        ("--upload-pack=touch", "has a sign that no URL has"),
        ("ssh://-oProxyCommand=x/a", "names no host"),
        ("ftp://example.com/a", "ftp:// is not allowed"),
        ("https:///a", "names no host"),
        ("https://example.com/a?token=x", "has a query or a fragment"),
        ("https://example.com:port/a", "Port could not be cast"),
        ("nowhere", "neither a URL nor a path"),
        ("a\nb", "has a sign that no URL has"),
    ],
)
def test_what_may_not_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(BadGitUrl, match=why):
        of(text)


def test_credentials_of_a_url_open_it_unless_others_are_given() -> None:
    remote = of("https://me:s%40crt@example.com/a")
    assert (remote.username, remote.password) == ("me", "s@crt")
    other = remote.opened_by(None, "token", None)
    assert (other.username, other.password) == (None, "token")
    assert "s@crt" not in repr(remote)
    with pytest.raises(BadGitUrl) as caught:
        of("https://me:secret@example.com/a?b")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "text", "url"),
    [
        ("https://example.com/a/b.git", "../c.git", "https://example.com/a/c.git"),
        ("https://example.com/a/b", "../../c", "https://example.com/c"),
        ("https://example.com/a/b", "./c", "https://example.com/a/b/c"),
        ("git@example.com:a/b", "../c", "git@example.com:a/c"),
        ("git@example.com:a", "../c", "git@example.com:c"),
        ("https://example.com/a", "https://other.com/b", "https://other.com/b"),
    ],
)
def test_a_submodule_is_found_beside_its_repository(base: str, text: str, url: str) -> None:
    assert of(base).submodule(text).url == url


def test_only_a_submodule_of_the_same_server_gets_the_credentials() -> None:
    remote = of("https://example.com/a").opened_by("me", "secret", None)
    assert remote.submodule("../b").password == "secret"
    for other in ("https://other.com/b", "http://example.com/b", "https://example.com:8443/b"):
        assert remote.submodule(other).password is None


def test_the_same_repository_has_one_place_whoever_opens_it() -> None:
    digests = {
        of(text).digest
        for text in ("https://example.com/a", "https://me:x@example.com/a.git", "https://example.com/a/")
    }
    assert len(digests) == 1


def test_a_text_is_shown_without_what_opens_the_urls_in_it() -> None:
    text = "fatal: https://me:secret@example.com/a, https://token@example.com/b and git@example.com:c"
    assert without_credentials(text) == (
        "fatal: https://example.com/a, https://example.com/b and git@example.com:c"
    )
    assert of("https://me:secret@h/a").redacted("secret is secret") == "*** is ***"
