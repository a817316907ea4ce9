"""Downloads to the cache: whole, once, and gone on with."""

from __future__ import annotations

import gzip
import hashlib
import threading

import anyio
import pytest

from sbkube.fetch.access import Access
from sbkube.fetch.cache import Cache
from sbkube.fetch.downloads import Downloads, Fetched
from sbkube.fetch.errors import FetchError, NotThere, Unreachable
from sbkube.fetch.http_errors import TooLarge, WrongDigest
from servers import faults
from servers.http import Server
from servers.messages import Request, Response

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(BIG).hexdigest()


@pytest.fixture(autouse=True)
def big(server: Server) -> None:
    server.files["/big"] = BIG


def content(cache: Cache, fetched: Fetched) -> bytes:
    path = cache.find(fetched.digest)
    assert path is not None
    return path.read_bytes()


async def test_a_file_is_in_the_cache_by_its_digest(downloads: Downloads, server: Server) -> None:
    told: list[tuple[int, int | None]] = []
    fetched = await downloads.fetch(f"{server.url}/big", on_bytes=lambda *bytes: told.append(bytes))
    assert fetched == Fetched(DIGEST, len(BIG), f"{server.url}/big", True)
    assert content(downloads.cache, fetched) == BIG
    assert told[-1] == (len(BIG), len(BIG))
    assert told == sorted(told)


async def test_what_has_the_expected_digest_is_not_asked_for(downloads: Downloads, server: Server) -> None:
    first = await downloads.fetch(f"{server.url}/big", expected=DIGEST)
    again = await downloads.fetch("http://nowhere.invalid/big", expected=DIGEST)
    assert (first.is_new, again.is_new) == (True, False)
    assert server.count() == 1


async def test_another_digest_than_expected_is_told_with_both_and_kept_nowhere(
    downloads: Downloads, server: Server
) -> None:
    with pytest.raises(WrongDigest, match=f"has the SHA-256 {DIGEST}, not {'0' * 64}") as caught:
        await downloads.fetch(f"{server.url}/big", expected="0" * 64)
    assert not caught.value.transient
    assert downloads.cache.blobs() == []


async def test_without_a_digest_the_server_is_asked_what_is_new(downloads: Downloads, server: Server) -> None:
    url = f"{server.url}/big"
    await downloads.fetch(url)
    assert await downloads.fetch(url) == Fetched(DIGEST, len(BIG), url, False)
    server.files["/big"] = b"other"
    assert content(downloads.cache, await downloads.fetch(url)) == b"other"
    assert [it.headers.get("if-none-match", "")[:1] for it in server.requests] == ["", '"', '"']


async def test_a_server_of_dates_alone_is_asked_by_date(downloads: Downloads, server: Server) -> None:
    server.files.etags = False
    server.files["/a"] = b"a"
    await downloads.fetch(f"{server.url}/a")
    assert not (await downloads.fetch(f"{server.url}/a")).is_new
    assert "if-modified-since" in server.requests[1].headers


async def test_what_is_damaged_in_the_cache_comes_again(downloads: Downloads, server: Server) -> None:
    url = f"{server.url}/big"
    fetched = await downloads.fetch(url)
    downloads.cache.path(fetched.digest).write_bytes(b"damaged")
    assert content(downloads.cache, await downloads.fetch(url)) == BIG
    assert "if-none-match" not in server.requests[1].headers


async def test_two_urls_that_differ_in_their_query_are_two_files(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(lambda it: Response(200, it.query.encode(), {"ETag": '"same"'}))
    found = [
        await downloads.fetch(f"{server.url}/a?{query}") for query in ("token=canary", "b", "token=canary")
    ]
    assert [content(downloads.cache, it) for it in found] == [b"token=canary", b"b", b"token=canary"]
    notes = b"".join(path.read_bytes() for path in downloads.cache.folder.glob("notes/*/*"))
    assert b"canary" not in notes


# Broken off


async def test_a_download_goes_on_where_it_broke_off(downloads: Downloads, server: Server) -> None:
    server.before.append(faults.first(1, faults.cut(server.files, 0.9)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/big", expected=DIGEST)
    assert (await downloads.fetch(f"{server.url}/big", expected=DIGEST)).digest == DIGEST
    begin = int(len(BIG) * 0.9)
    assert server.requests[1].headers["range"] == f"bytes={begin}-"


async def test_a_file_that_changed_meanwhile_comes_from_its_beginning(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(faults.first(1, faults.cut(server.files, 0.5)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/big")
    server.files["/big"] = b"new" * 1000
    assert content(downloads.cache, await downloads.fetch(f"{server.url}/big")) == b"new" * 1000


async def test_a_server_without_validators_is_asked_from_the_beginning(
    downloads: Downloads, server: Server
) -> None:
    server.files.etags = server.files.dates = False
    server.files["/a"] = BIG
    server.before.append(faults.first(1, faults.cut(server.files, 0.5)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/a")
    assert (await downloads.fetch(f"{server.url}/a")).digest == DIGEST
    assert "range" not in server.requests[1].headers


async def test_a_server_without_ranges_sends_the_whole_again(downloads: Downloads, server: Server) -> None:
    server.files.ranges = False
    server.before.append(faults.first(1, faults.cut(server.files, 0.5)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/big")
    assert (await downloads.fetch(f"{server.url}/big")).digest == DIGEST


async def test_a_rest_that_cannot_be_had_is_asked_for_from_the_beginning(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(faults.first(1, faults.cut(server.files, 0.5)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/big")
    server.before.append(faults.first(1, faults.answer(416)))
    assert (await downloads.fetch(f"{server.url}/big")).digest == DIGEST


async def test_a_rest_that_ends_before_the_file_does_is_not_taken_for_it(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(faults.first(1, faults.cut(server.files, 0.5)))
    with pytest.raises(Unreachable):
        await downloads.fetch(f"{server.url}/big")
    half = len(BIG) // 2
    part = Response(206, b"more", {"Content-Range": f"bytes {half}-{half + 3}/{len(BIG)}"})
    server.before.append(faults.first(1, lambda request: part))
    with pytest.raises(FetchError, match="is answered with another part than was asked for") as caught:
        await downloads.fetch(f"{server.url}/big")
    assert caught.value.transient
    assert (await downloads.fetch(f"{server.url}/big")).digest == DIGEST


async def test_a_part_that_nobody_asked_for_is_no_file(downloads: Downloads, server: Server) -> None:
    server.before.append(lambda it: Response(206, b"0123", {"Content-Range": "bytes 0-3/4"}))
    with pytest.raises(FetchError, match="another part than was asked for"):
        await downloads.fetch(f"{server.url}/big")


async def test_what_is_not_packed_as_it_says_is_told(downloads: Downloads, server: Server) -> None:
    server.before.append(lambda it: Response(200, b"plain", {"Content-Encoding": "gzip"}))
    with pytest.raises(FetchError, match="cannot be unpacked: it is not what its header says") as caught:
        await downloads.fetch(f"{server.url}/index", packed=True)
    assert not caught.value.transient


@pytest.mark.parametrize("status", [206, 304, 416])
async def test_a_server_that_never_sends_the_whole_is_given_up(
    downloads: Downloads, server: Server, status: int
) -> None:
    server.before.append(faults.answer(status))
    with pytest.raises(FetchError):
        await downloads.fetch(f"{server.url}/big")
    assert server.count() <= 2


async def test_what_was_cancelled_goes_on_too(downloads: Downloads, server: Server) -> None:
    tag = server.files(Request("GET", "/big", {})).headers["ETag"]  # type: ignore[union-attr]
    begun = threading.Event()

    def stall(request: Request) -> Response:
        def body() -> object:
            yield BIG[:300_000]
            server.closing.wait()

        return Response(200, body(), {"ETag": tag}, length=len(BIG))  # type: ignore[arg-type]

    server.before.append(faults.first(1, stall))
    async with anyio.create_task_group() as tasks:

        def received(size: int, total: int | None) -> None:
            if size == 300_000:
                tasks.cancel_scope.cancel()
                begun.set()

        async def fetch() -> None:
            await downloads.fetch(f"{server.url}/big", expected=DIGEST, on_bytes=received)

        tasks.start_soon(fetch)
    assert begun.is_set()
    assert (await downloads.fetch(f"{server.url}/big", expected=DIGEST)).digest == DIGEST
    assert server.requests[1].headers["range"] == "bytes=300000-"


# Limits


async def test_what_says_that_it_is_too_large_is_not_begun(downloads: Downloads, server: Server) -> None:
    told: list[int] = []
    with pytest.raises(TooLarge, match="is larger than 1000 bytes"):
        await downloads.fetch(f"{server.url}/big", limit=1000, on_bytes=lambda size, total: told.append(size))
    assert told == []


async def test_what_does_not_end_is_given_up_at_the_limit(downloads: Downloads, server: Server) -> None:
    server.before.append(faults.endless())
    with pytest.raises(TooLarge, match="is larger than 3 MiB"):
        await downloads.fetch(f"{server.url}/big", limit=3 * 1024 * 1024)
    assert downloads.cache.blobs() == []


@pytest.mark.parametrize("more", [1, 1000])
async def test_a_body_shorter_than_it_was_said_to_be_is_no_file(
    downloads: Downloads, server: Server, more: int
) -> None:
    server.before.append(faults.wrong_length(BIG, more))
    with pytest.raises(Unreachable, match="broke off while"):
        await downloads.fetch(f"{server.url}/big")
    assert downloads.cache.blobs() == []


async def test_a_body_longer_than_it_was_said_to_be_has_another_digest(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(faults.wrong_length(BIG, -1))
    with pytest.raises(WrongDigest):
        await downloads.fetch(f"{server.url}/big", expected=DIGEST)


async def test_a_packed_answer_is_kept_unpacked_and_its_size_is_that(
    downloads: Downloads, server: Server
) -> None:
    server.before.append(
        lambda it: Response(200, gzip.compress(bytes(10_000_000)), {"Content-Encoding": "gzip"})
    )
    fetched = await downloads.fetch(f"{server.url}/index", packed=True)
    assert fetched.size == 10_000_000
    with pytest.raises(TooLarge):
        await downloads.fetch(f"{server.url}/index", packed=True, limit=1_000_000)


# At once


async def test_what_many_want_at_once_comes_once(downloads: Downloads, server: Server) -> None:
    found: list[Fetched] = []

    async def fetch() -> None:
        found.append(await downloads.fetch(f"{server.url}/big", expected=DIGEST))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(fetch)
    assert {it.digest for it in found} == {DIGEST}
    assert server.count() == 1


async def test_a_failure_is_for_all_who_waited_and_each_has_its_own(
    downloads: Downloads, server: Server
) -> None:
    errors: list[FetchError] = []

    async def fetch() -> None:
        with pytest.raises(NotThere) as caught:
            await downloads.fetch(f"{server.url}/none")
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(fetch)
    assert len({id(error) for error in errors}) == 5
    assert {str(error) for error in errors} == {f"'{server.url}/none' answered 404 Not Found"}
    assert server.count() == 1
    server.files["/none"] = b"now"
    assert (await downloads.fetch(f"{server.url}/none")).size == 3


async def test_whoever_waits_goes_on_when_the_first_is_cancelled(
    downloads: Downloads, server: Server
) -> None:
    asked = threading.Event()

    def silent(request: Request) -> Response:
        asked.set()
        server.closing.wait()
        return Response(500)

    server.before.append(faults.first(1, silent))
    found: list[Fetched] = []
    first = anyio.CancelScope()

    async def one() -> None:
        with first:
            await downloads.fetch(f"{server.url}/big")

    async def two() -> None:
        found.append(await downloads.fetch(f"{server.url}/big"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await anyio.to_thread.run_sync(asked.wait)
        tasks.start_soon(two)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
    assert [it.digest for it in found] == [DIGEST]


async def test_credentials_are_nowhere_in_the_cache(downloads: Downloads, server: Server) -> None:
    access = Access(username="canary-user", password="canary-password", headers=(("X", "canary-token"),))
    url = server.url.replace("//", "//canary-login:canary-secret@") + "/big?key=canary-key"
    await downloads.fetch(url, access)
    await downloads.fetch(url)
    for path in downloads.cache.folder.rglob("*"):
        assert "canary" not in str(path)
        assert not path.is_file() or b"canary" not in path.read_bytes()
