"""Charts from a registry: which one a version means, that it is the right one, and what is asked for it."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import pytest
from oci_bench import Oci

from sbkube.fetch.access import Access
from sbkube.fetch.cache import Cache
from sbkube.fetch.errors import FetchError, Mismatch, NotThere, Unreachable
from sbkube.fetch.http_errors import CertificateRefused, WrongDigest
from sbkube.fetch.oci_errors import (
    BadAnswer,
    NoSuchChart,
    NoSuchVersion,
    NotAChart,
    SpeaksNoTls,
    SpeaksTls,
    WrongPin,
)
from sbkube.fetch.versions import BadConstraint
from servers import faults
from servers.certificates import Authority
from servers.charts import Chart
from servers.http import Server
from servers.messages import Request, Response
from servers.registry import Registry, digest_of, manifest_of

pytestmark = pytest.mark.anyio


def asked(server: Server) -> list[str]:
    return [f"{it.method} {it.target.removeprefix('/v2/')}" for it in server.asked()]


async def test_a_chart_of_a_version_takes_two_requests(server: Server, registry: Registry, oci: Oci) -> None:
    chart = Chart("web", "1.0.0+b1")
    digest = registry.push("charts/web", chart)
    found = await oci.find(server, "charts/web", "1.0.0+b1")
    assert (found.version, found.reference.digest) == ("1.0.0+b1", digest)
    fetched = await oci.charts.fetch(found)
    assert fetched.is_new
    assert oci.content(fetched) == chart.packed
    assert asked(server) == [
        "GET charts/web/manifests/1.0.0_b1",
        f"GET charts/web/blobs/{digest_of(chart.packed)}",
    ]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        (None, "1.10.0"),
        ("*", "1.10.0"),
        ("~1.9", "1.9.0+b"),
        ("<1.9", "1.0.0"),
        (">=2.0.0-0", "2.0.0-rc.1"),
        ("1.9.0+b", "1.9.0+b"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
    ],
)
async def test_a_version_is_chosen_from_the_tags_as_helm_does(
    server: Server, registry: Registry, oci: Oci, wanted: str | None, version: str
) -> None:
    for one in ("1.0.0", "1.10.0", "1.9.0+b", "2.0.0-rc.1"):
        registry.push("web", Chart("web", one))
    registry.push("web", Chart("web", "3.0.0"), tag="latest")
    fetched = await oci.fetch(server, "web", wanted)
    assert oci.content(fetched) == Chart("web", version).packed


async def test_what_is_a_version_is_taken_for_a_tag_and_not_for_a_range(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web", "1.2.3"))
    with pytest.raises(NoSuchVersion, match=r"chart 'oci://.*/web' has no version '1.2'") as caught:
        await oci.find(server, "web", "1.2")
    assert caught.value.hint == "there are: 1.2.3"
    registry.push("web", Chart("web", "1.2.4"), tag="v1.2")
    assert (await oci.anew().find(server, "web", "v1.2")).version == "v1.2"


async def test_all_pages_of_tags_are_read(server: Server, registry: Registry, oci: Oci) -> None:
    registry.page = 3
    for minor in range(10):
        registry.push("web", Chart("web", f"1.{minor}.0"))
    reference = (await oci.find(server, "web", "^1.0")).reference
    assert reference.tag == "1.9.0"
    assert server.count("/v2/web/tags/list") == 4


async def test_tags_that_never_end_or_go_on_elsewhere_are_refused(
    server: Server, other: Server, oci: Oci
) -> None:
    target = [f"{other.url}/v2/web/tags/list"]

    def more(request: Request) -> Response:
        return Response(200, b'{"tags": ["1.0.0"]}', {"Link": f"<{target[0]}>; rel=next"})

    server.handlers.append(more)
    with pytest.raises(BadAnswer, match="it goes on at another server"):
        await oci.find(server, "web")
    assert other.count() == 0
    target[0] = "/v2/web/tags/list?last=x"
    with pytest.raises(BadAnswer, match="it goes on for more than 1000 pages"):
        await oci.find(server, "web")


async def test_many_who_want_the_same_ask_once(server: Server, registry: Registry, oci: Oci) -> None:
    registry.push("web", Chart("web"))
    async with anyio.create_task_group() as tasks:
        for wanted in ("^1.0", "~1.0", None, "1.x") * 5:
            tasks.start_soon(oci.fetch, server, "web", wanted)
    assert server.count("/v2/web/tags/list") == 1
    assert server.count(f"/v2/web/blobs/{digest_of(Chart('web').packed)}") == 1


async def test_the_next_run_asks_for_heads_and_downloads_nothing(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    await oci.fetch(server, "web", "1.0.0")
    server.forget()
    assert not (await oci.anew().fetch(server, "web", "1.0.0")).is_new
    assert asked(server) == ["HEAD web/manifests/1.0.0"]
    changed = Chart("web", more={"README.md": "changed"})
    registry.push("web", changed)
    assert oci.content(await oci.anew().fetch(server, "web", "1.0.0")) == changed.packed


async def test_a_registry_that_knows_no_heads_is_asked_for_the_whole(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    await oci.fetch(server, "web", "1.0.0")
    server.before.append(lambda request: Response(405) if request.method == "HEAD" else None)
    assert not (await oci.anew().fetch(server, "web", "1.0.0")).is_new


async def test_a_pinned_chart_that_is_in_the_cache_needs_no_registry(
    server: Server, registry: Registry, oci: Oci
) -> None:
    digest = registry.push("web", Chart("web"))
    found = await oci.find(server, f"web@{digest}")
    assert found.version == "1.0.0"
    await oci.charts.fetch(found)
    server.forget()
    server.before.append(faults.answer(500))
    assert not (await oci.anew().fetch(server, f"web:1.0.0@{digest}", "1.0.0")).is_new
    assert server.count() == 0


async def test_a_pin_that_is_another_version_than_is_wanted_is_refused(
    server: Server, registry: Registry, oci: Oci
) -> None:
    digest = registry.push("web", Chart("web", "1.0.0"))
    assert (await oci.find(server, f"web@{digest}", "^1.0")).reference.digest == digest
    for wanted in ("1.0.1", "^2.0"):
        with pytest.raises(WrongPin, match=rf"is version 1.0.0, and '{re.escape(wanted)}' is wanted"):
            await oci.find(server, f"web@{digest}", wanted)
    plain = registry.push("web", Chart("web", "1.0.0"), manifest=manifest_of(Chart("web"), annotated=False))
    assert (await oci.find(server, f"web@{plain}", "7.0.0")).version == "7.0.0"


async def test_progress_is_told(server: Server, registry: Registry, oci: Oci) -> None:
    registry.push("web", Chart("web"))
    seen: list[tuple[int, int | None]] = []
    await oci.charts.fetch(
        await oci.find(server, "web"), on_bytes=lambda come, total: seen.append((come, total))
    )
    size = len(Chart("web").packed)
    assert seen[-1] == (size, size)


# What is not right


async def test_a_blob_that_was_swapped_is_refused_with_both_digests(
    server: Server, registry: Registry, oci: Oci, cache: Cache
) -> None:
    chart, evil = Chart("web"), Chart("evil").packed
    registry.push("web", chart)
    registry.blobs[digest_of(chart.packed)] = evil
    with pytest.raises(WrongDigest) as caught:
        await oci.fetch(server, "web", "1.0.0")
    assert (caught.value.expected, caught.value.came) == (
        chart.digest,
        digest_of(evil).removeprefix("sha256:"),
    )
    assert not caught.value.transient
    assert cache.find(chart.digest) is None


async def test_a_manifest_that_is_not_the_pinned_one_is_refused(
    server: Server, registry: Registry, oci: Oci
) -> None:
    digest = registry.push("web", Chart("web"))
    registry.tags["web"][digest] = manifest_of(Chart("web", "1.0.1"))
    with pytest.raises(Mismatch) as caught:
        await oci.find(server, f"web@{digest}")
    assert digest.removeprefix("sha256:") in caught.value.message


async def test_a_manifest_that_is_not_what_its_head_says_is_refused(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))

    def lie(request: Request) -> Response | None:
        sent = registry(request)
        assert sent is not None
        return Response(
            sent.status, sent.body, {**sent.headers, "Docker-Content-Digest": f"sha256:{'0' * 64}"}
        )

    server.before.append(lie)
    with pytest.raises(Mismatch, match=f"not sha256:{'0' * 64}"):
        await oci.find(server, "web", "1.0.0")


async def test_no_such_chart_and_no_such_version_are_told_apart(
    server: Server, registry: Registry, oci: Oci
) -> None:
    for wanted in ("1.0.0", "^1.0", None):
        with pytest.raises(NoSuchChart, match=r"there is no chart 'oci://127.0.0.1:\d+/wbe'"):
            await oci.find(server, "wbe", wanted)
    for minor in range(7):
        registry.push("web", Chart("web", f"1.{minor}.0"))
    for wanted in ("1.7.0", "^2.0"):
        with pytest.raises(NoSuchVersion) as caught:
            await oci.find(server, "web", wanted)
        assert caught.value.hint == "there are: 1.6.0, 1.5.0, 1.4.0, 1.3.0, 1.2.0 and 2 more"
        assert isinstance(caught.value, NotThere)
        assert not caught.value.transient
    with pytest.raises(NoSuchVersion, match=r"has no version 'sha256:0+'"):
        await oci.find(server, f"web@sha256:{'0' * 64}")
    with pytest.raises(BadConstraint, match="'latest' is neither a version nor a range"):
        await oci.find(server, "web:latest")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"config_type": "application/vnd.oci.image.config.v1+json"}, "it is a container image"),
        (
            {"config_type": "application/vnd.wasm"},
            "its configuration has the media type 'application/vnd.wasm'",
        ),
        ({"layer_type": "application/x"}, "it has no layers with a chart, not one"),
    ],
)
async def test_what_is_no_chart_is_told_as_what_it_is(
    server: Server, registry: Registry, oci: Oci, changed: dict[str, Any], why: str
) -> None:
    registry.push("web", Chart("web"), manifest=manifest_of(Chart("web"), **changed))
    with pytest.raises(NotAChart) as caught:
        await oci.find(server, "web", "1.0.0")
    assert caught.value.message.endswith(f"/web:1.0.0' is no Helm chart: {why}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"manifests": []}',
        b"\xff",
        b'{"config": 1, "layers": {}}',
    ],
)
async def test_a_manifest_of_another_kind_is_no_chart(
    server: Server, registry: Registry, oci: Oci, body: bytes
) -> None:
    registry.tags["web"] = {"1.0.0": body}
    with pytest.raises(NotAChart):
        await oci.find(server, "web", "1.0.0")


async def test_a_layer_whose_digest_is_none_is_refused(server: Server, registry: Registry, oci: Oci) -> None:
    made = json.loads(manifest_of(Chart("web")))
    made["layers"][0]["digest"] = "sha256:../../../etc/passwd"
    registry.push("web", Chart("web"), manifest=json.dumps(made).encode())
    with pytest.raises(NotAChart, match="its layer has the digest"):
        await oci.find(server, "web", "1.0.0")


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"[]", b'{"tags": 7}'])
async def test_tags_that_are_none_are_refused(server: Server, oci: Oci, body: bytes) -> None:
    server.handlers.append(lambda request: Response(200, body))
    with pytest.raises(BadAnswer, match="is not answered as a registry would"):
        await oci.find(server, "web")


async def test_tags_that_are_null_are_no_tags(server: Server, oci: Oci) -> None:
    server.handlers.append(lambda request: Response(200, b'{"tags": null}'))
    with pytest.raises(NoSuchVersion) as caught:
        await oci.find(server, "web")
    assert caught.value.hint == "it has no tags at all"


# What may pass


async def test_a_registry_that_has_enough_says_when_to_come_again(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    server.before.append(faults.first(1, faults.answer(429, Retry_After="7")))
    with pytest.raises(Unreachable) as caught:
        await oci.find(server, "web", "1.0.0")
    assert (caught.value.transient, caught.value.after) == (True, 7.0)
    assert (await oci.find(server, "web", "1.0.0")).version == "1.0.0"


async def test_a_download_that_is_cut_may_be_tried_again(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    found = await oci.find(server, "web", "1.0.0")
    server.before.append(faults.first(1, faults.cut(registry, 0.9)))
    with pytest.raises(Unreachable) as caught:
        await oci.charts.fetch(found)
    assert caught.value.transient
    assert oci.content(await oci.charts.fetch(found)) == Chart("web").packed


# TLS


async def test_a_registry_of_a_known_authority_is_trusted_and_no_other(
    authority: Authority, oci: Oci
) -> None:
    with Server(authority.server()) as server:
        registry = Registry()
        server.handlers.append(registry)
        registry.push("web", Chart("web"))
        for access in (Access(ca_file=authority.file), Access(insecure=True)):
            assert (await oci.anew().find(server, "web", access=access)).version == "1.0.0"
        with pytest.raises(CertificateRefused) as caught:
            await oci.find(server, "web")
        assert caught.value.hint == "name the authority that signed it in `ca_file`"


async def test_plain_http_is_spoken_only_if_it_is_said_also_on_loopback(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    server.url = server.url.replace("http://", "https://")
    with pytest.raises(SpeaksNoTls, match="does not speak TLS") as caught:
        await oci.find(server, "web", "1.0.0")
    assert caught.value.hint is not None
    assert "set `plain_http: true` in `oci_registries`" in caught.value.hint
    assert server.count() == 0


async def test_a_server_of_tls_that_is_spoken_to_without_says_so(server: Server, oci: Oci) -> None:
    server.before.append(faults.answer(400))
    with pytest.raises(SpeaksTls) as caught:
        await oci.find(server, "web", "1.0.0")
    assert caught.value.hint == "if it speaks TLS, remove `plain_http: true`"


async def test_nothing_half_written_is_left_of_what_was_refused(
    server: Server, registry: Registry, oci: Oci, cache: Cache
) -> None:
    registry.push("web", Chart("web"), manifest=b"{}")
    with pytest.raises(FetchError):
        await oci.find(server, "web", "1.0.0")
    assert cache.blobs() == []
    assert list(cache.folder.glob("**/*.json")) == []
