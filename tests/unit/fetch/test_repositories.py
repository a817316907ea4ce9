"""Charts of repositories: which archive, from where, how often, and what is said where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterable

import anyio
import pytest

from sbkube.fetch.access import Access
from sbkube.fetch.downloads import Downloads
from sbkube.fetch.errors import AccessRefused, FetchError, NotThere, Unreachable
from sbkube.fetch.http_errors import BadUrl, TooLarge, WrongDigest
from sbkube.fetch.index import BadIndex
from sbkube.fetch.repositories import (
    FetchedChart,
    NoArchive,
    Repositories,
    Repository,
    UnknownChart,
    UnknownVersion,
)
from sbkube.fetch.versions import BadConstraint
from servers import faults
from servers.charts import Chart, index, repository
from servers.http import Server
from servers.messages import Response

pytestmark = pytest.mark.anyio

OLD, NEW, NEXT = Chart("web"), Chart("web", "1.2.0"), Chart("web", "2.0.0-rc.1")


def serve(
    server: Server, files: Iterable[tuple[str, bytes]] = tuple(repository(OLD, NEW, NEXT).items())
) -> None:
    for path, content in files:
        server.files[path] = content


def serve_entry(server: Server, *urls: str, chart: Chart = NEW, digest: str | None = None) -> None:
    server.files["/index.yaml"] = index({"web": [chart.entry(urls, digest)]})


def repo(server: Server, access: Access | None = None) -> Repository:
    return Repository("shop", server.url, access or Access())


@pytest.fixture
def charts(downloads: Downloads) -> Repositories:
    return Repositories(downloads)


def packed(chart: FetchedChart) -> bytes:
    return chart.path.read_bytes()


async def test_the_newest_that_is_wanted_is_taken(charts: Repositories, server: Server) -> None:
    serve(server)
    chart = await charts.chart(repo(server), "web", None)
    assert chart == FetchedChart(
        charts._cache.path(NEW.digest), f"{server.url}/{NEW.file}", NEW.digest, "1.2.0", True
    )
    assert packed(await charts.chart(repo(server), "web", "1.0")) == OLD.packed
    assert packed(await charts.chart(repo(server), "web", ">1-0")) == NEXT.packed


async def test_many_charts_of_a_repository_cost_one_request_each_and_one_for_its_index(
    charts: Repositories, server: Server
) -> None:
    made = [Chart(f"c{n}") for n in range(10)]
    serve(server, repository(*made).items())
    async with anyio.create_task_group() as tasks:
        for chart in made * 3:
            tasks.start_soon(charts.chart, repo(server), chart.name, None)
    assert server.count("/index.yaml") == 1
    assert server.count() == 11


async def test_the_next_run_asks_for_the_index_alone_and_only_whether_it_changed(
    downloads: Downloads, server: Server
) -> None:
    serve(server)
    await Repositories(downloads).chart(repo(server), "web", "^1")
    server.forget()
    chart = await Repositories(downloads).chart(repo(server), "web", "^1")
    assert (chart.version, chart.is_new) == ("1.2.0", False)
    assert [request.path for request in server.requests] == ["/index.yaml"]
    assert "if-none-match" in server.requests[0].headers
    newer = Chart("web", "1.3.0")
    serve(server, repository(OLD, NEW, newer).items())
    assert (await Repositories(downloads).chart(repo(server), "web", "^1")).version == "1.3.0"


async def test_an_index_that_was_read_is_not_read_again(downloads: Downloads, server: Server) -> None:
    serve(server)
    await Repositories(downloads).index(repo(server))
    (note,) = downloads.cache.folder.glob("notes/index-1/*")
    os.utime(note, (0, 0))
    await Repositories(downloads).index(repo(server))
    assert note.stat().st_mtime == 0


async def test_what_was_kept_of_an_index_and_is_damaged_is_made_again(
    downloads: Downloads, server: Server
) -> None:
    serve(server)
    await Repositories(downloads).index(repo(server))
    for blob in downloads.cache.blobs():
        downloads.cache.path(blob.digest).write_bytes(b"{}\n")
    assert (await Repositories(downloads).index(repo(server))).charts == ["web"]


# Where a chart is


async def test_relative_and_absolute_urls_lead_to_the_archive(
    charts: Repositories, server: Server, other: Server
) -> None:
    server.files["/charts/index.yaml"] = index(
        {
            "a": [Chart("a").entry(["deep/a.tgz"])],
            "b": [Chart("b").entry(["/b.tgz"])],
            "c": [Chart("c").entry([f"{other.url}/c.tgz"])],
        }
    )
    server.files["/charts/deep/a.tgz"] = Chart("a").packed
    server.files["/b.tgz"] = Chart("b").packed
    other.files["/c.tgz"] = Chart("c").packed
    shop = Repository("shop", f"{server.url}/charts/")
    for name in "abc":
        assert packed(await charts.chart(shop, name, None)) == Chart(name).packed


async def test_mirrors_are_tried_in_their_order(charts: Repositories, server: Server, other: Server) -> None:
    serve_entry(server, f"{other.url}/broken.tgz", f"{other.url}/wrong.tgz", "good.tgz", "never.tgz")
    other.files["/wrong.tgz"] = b"wrong"
    other.before.append(lambda it: Response(503) if it.path == "/broken.tgz" else None)
    server.files["/good.tgz"] = NEW.packed
    assert packed(await charts.chart(repo(server), "web", None)) == NEW.packed
    assert [request.path for request in other.requests] == ["/broken.tgz", "/wrong.tgz"]
    assert server.count("/never.tgz") == 0


async def test_where_no_mirror_has_it_each_is_told(
    charts: Repositories, server: Server, other: Server
) -> None:
    serve_entry(server, "a.tgz", f"{other.url}/b.tgz")
    other.before.append(faults.answer(503, Retry_After="9"))
    with pytest.raises(NoArchive) as caught:
        await charts.chart(repo(server), "web", None)
    assert caught.value.message == (
        "chart 'web' 1.2.0 of repository 'shop' cannot be fetched: "
        f"'{server.url}/a.tgz' answered 404 Not Found; '{other.url}/b.tgz' answered 503 Service Unavailable"
    )
    assert (caught.value.transient, caught.value.after) == (True, 9)


@pytest.mark.parametrize("url", ["http://[x/web.tgz", "ftp://x/web.tgz", "http://x:port/web.tgz"])
async def test_a_url_of_an_index_that_is_none_is_told(charts: Repositories, server: Server, url: str) -> None:
    serve_entry(server, f"'{url}'")
    with pytest.raises(BadUrl, match="is no URL of http or https"):
        await charts.chart(repo(server), "web", None)


async def test_a_repository_whose_url_is_none_is_told(charts: Repositories) -> None:
    with pytest.raises(BadUrl, match=r"'http://\[x' is no URL"):
        await charts.chart(Repository("shop", "http://[x"), "web", None)


async def test_an_index_is_of_use_though_the_cache_was_emptied(charts: Repositories, server: Server) -> None:
    serve(server)
    await charts.index(repo(server))
    for blob in charts._cache.blobs():
        charts._cache.path(blob.digest).unlink()
    assert packed(await charts.chart(repo(server), "web", None)) == NEW.packed


async def test_a_version_without_a_url_is_told(charts: Repositories, server: Server) -> None:
    server.files["/index.yaml"] = "entries:\n  web:\n  - version: 1.2.0\n"
    with pytest.raises(NoArchive, match=r"'web' 1\.2\.0 of repository 'shop' .* its index names no URL"):
        await charts.chart(repo(server), "web", None)


async def test_credentials_go_to_the_repository_and_not_to_whom_its_index_names(
    charts: Repositories, server: Server, other: Server
) -> None:
    serve_entry(server, f"{other.url}/web.tgz", "ours.tgz", digest="")
    server.files["/ours.tgz"] = NEW.packed
    server.before.append(faults.login("me", "canary-password"))
    await charts.chart(repo(server, Access("me", "canary-password")), "web", None)
    assert other.count() == 1
    assert "authorization" not in other.requests[0].headers
    assert "canary" not in other.bytes_received


# Digests


async def test_another_archive_than_the_index_says_is_refused_with_both_digests(
    charts: Repositories, server: Server
) -> None:
    serve(server)
    server.files[f"/{NEW.file}"] = OLD.packed
    with pytest.raises(WrongDigest) as caught:
        await charts.chart(repo(server), "web", None)
    assert caught.value.message == (
        f"what came from '{server.url}/{NEW.file}' has the SHA-256 {OLD.digest}, not {NEW.digest}"
    )


async def test_a_chart_without_a_digest_is_asked_for_and_taken(downloads: Downloads, server: Server) -> None:
    serve_entry(server, "web.tgz", digest="")
    server.files["/web.tgz"] = NEW.packed
    assert (await Repositories(downloads).chart(repo(server), "web", None)).is_new
    assert not (await Repositories(downloads).chart(repo(server), "web", None)).is_new
    server.files["/web.tgz"] = OLD.packed
    assert packed(await Repositories(downloads).chart(repo(server), "web", None)) == OLD.packed


async def test_the_same_version_of_two_repositories_are_two_charts(
    charts: Repositories, server: Server, other: Server
) -> None:
    theirs = Chart("web", "1.2.0", {"values.yaml": "theirs: true\n"})
    serve(server)
    serve(other, repository(theirs).items())
    assert packed(await charts.chart(repo(server), "web", "1.2.0")) == NEW.packed
    assert packed(await charts.chart(repo(other), "web", "1.2.0")) == theirs.packed


async def test_a_chart_may_be_named_by_its_url(charts: Repositories, server: Server) -> None:
    serve(server)
    chart = await charts.archive(f"{server.url}/{NEW.file}?token=canary")
    assert (chart.url, chart.digest, chart.version) == (f"{server.url}/{NEW.file}?…", NEW.digest, None)


# What is not there


async def test_an_unknown_chart_is_told_with_its_neighbours(charts: Repositories, server: Server) -> None:
    serve(server, repository(Chart("postgresql"), Chart("redis")).items())
    with pytest.raises(UnknownChart) as caught:
        await charts.chart(repo(server), "postgres", None)
    assert caught.value.message == "repository 'shop' has no chart 'postgres'"
    assert caught.value.hint == "did you mean 'postgresql'?"


async def test_an_unknown_version_is_told_with_the_newest(charts: Repositories, server: Server) -> None:
    serve(server, repository(*(Chart("web", f"1.{n}.0") for n in range(12))).items())
    with pytest.raises(UnknownVersion) as caught:
        await charts.chart(repo(server), "web", "^2")
    assert caught.value.message == "chart 'web' of repository 'shop' has no version '^2'"
    assert caught.value.hint == "the newest are: 1.11.0, 1.10.0, 1.9.0, 1.8.0, 1.7.0"


async def test_a_chart_of_pre_releases_alone_says_so(charts: Repositories, server: Server) -> None:
    serve(server, repository(NEXT).items())
    with pytest.raises(UnknownVersion, match="has no version that is stable") as caught:
        await charts.chart(repo(server), "web", None)
    assert caught.value.hint == "the newest are: 2.0.0-rc.1"


async def test_what_is_no_constraint_is_refused(charts: Repositories, server: Server) -> None:
    serve(server)
    with pytest.raises(BadConstraint):
        await charts.chart(repo(server), "web", "newest")


async def test_a_url_without_an_index_is_questioned(charts: Repositories, server: Server) -> None:
    with pytest.raises(NotThere, match=r"/index\.yaml' answered 404") as caught:
        await charts.chart(repo(server), "web", None)
    assert caught.value.hint == f"is '{server.url}' the URL of a chart repository?"


async def test_an_index_that_is_none_is_told(charts: Repositories, server: Server) -> None:
    server.files["/index.yaml"] = "<html></html>"
    with pytest.raises(BadIndex, match="it is no mapping"):
        await charts.chart(repo(server), "web", None)


async def test_an_index_without_end_is_given_up(charts: Repositories, server: Server) -> None:
    server.before.append(faults.endless())
    with pytest.raises(TooLarge, match="is larger than 64 MiB"):
        await charts.index(repo(server))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccessRefused), (403, AccessRefused), (429, Unreachable), (500, Unreachable)]
)
async def test_an_index_that_is_refused_is_asked_for_again_only_if_that_may_help(
    charts: Repositories, server: Server, status: int, kind: type[FetchError]
) -> None:
    serve(server)
    server.before.append(faults.first(1, faults.answer(status)))
    with pytest.raises(kind) as caught:
        await charts.chart(repo(server), "web", None)
    assert caught.value.transient is (kind is Unreachable)
    assert (await charts.chart(repo(server), "web", None)).version == "1.2.0"
