"""The contract of every Helm: charts that do what real charts do come out as `helm template` prints them.

`expected/` holds what Helm 4 prints for each case. Where binaries are at hand (on PATH, or the paths in
SBKUBE_TEST_HELM joined by `:`; `build_helm.sh` builds them) they are held to the same pages, and the pages to them;
`SBKUBE_WRITE_EXPECTED=1` writes the pages anew from a Helm 4.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from helm_binaries import BINARIES
from helm_cases import CASES, KUBE, NOTES, Case

from sbkube.helm.base import (
    Capabilities,
    ChartError,
    Helm,
    HelmError,
    HelmTimeout,
    LintMessage,
    Rendered,
    RenderError,
    RenderRequest,
    ValuesError,
)
from sbkube.helm.binary import BinaryHelm
from sbkube.helm.embedded import EmbeddedHelm
from sbkube.helm.fake import FakeHelm
from sbkube.helm.select import embedded_is_installed
from sbkube.helm.values import final_values

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
MAKERS: dict[str, Callable[..., Helm]] = {
    **({"embedded": EmbeddedHelm} if embedded_is_installed() else {}),
    **{name: lambda path=path, **options: BinaryHelm(path, **options) for name, path in BINARIES.items()},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The charts, with what cannot be kept as text in a repository made from text."""
    folder = tmp_path_factory.mktemp("contract") / "charts"
    shutil.copytree(HERE / "charts", folder)
    for path in (folder / "windows").rglob("*.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (folder / "packaged" / "charts").mkdir()
    pack(folder / "packaged" / "inner", folder / "packaged" / "charts" / "inner-0.1.0.tgz")
    shutil.rmtree(folder / "packaged" / "inner")
    archive = folder / "packaged-0.1.0.tgz"
    pack(folder / "packaged", archive)
    (folder / "broken" / "cut.tgz").write_bytes(archive.read_bytes()[:200])
    (folder / "broken" / "rubbish.tgz").write_bytes(b"rubbish")
    return folder


def pack(chart: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(chart.rglob("*")):
            if path.is_file():
                tar.add(path, f"{chart.name}/{path.relative_to(chart)}")


@pytest.fixture(scope="module", params=MAKERS)
async def helm(request: pytest.FixtureRequest) -> AsyncIterator[Helm]:
    async with aclosing(MAKERS[request.param](time_limit=60)) as helm:
        yield helm


def parsed(text: str) -> list[Any]:
    """Every scalar as text: nothing is lost, nothing is guessed."""
    return [document for document in yaml.load_all(text, Loader=yaml.BaseLoader) if document]


def name_of(case: Case) -> str:
    return case.name


def page(case: Case) -> Path:
    return EXPECTED / f"{case.name}.yaml"


def printed_by(program: str, request: RenderRequest, scratch: Path) -> str:
    (scratch / "values.yaml").write_text(yaml.safe_dump(dict(request.values)))
    arguments = ["template", request.release, request.chart, "-n", request.namespace, "--include-crds"]
    arguments += ["-f", scratch / "values.yaml", "--kube-version", request.capabilities.kube_version]
    arguments += [f"--api-versions={version}" for version in request.capabilities.api_versions]
    arguments += ["--is-upgrade"] * request.is_upgrade
    printed = subprocess.run([program, *arguments], capture_output=True, check=False)
    assert not printed.returncode, printed.stderr
    return printed.stdout.decode()


if "helm-v4" in BINARIES:

    @pytest.mark.parametrize("case", CASES, ids=name_of)
    def test_the_pages_hold_what_helm_4_prints(case: Case, charts: Path, tmp_path: Path) -> None:
        printed = printed_by(BINARIES["helm-v4"], case.request(charts), tmp_path)
        if os.environ.get("SBKUBE_WRITE_EXPECTED"):
            EXPECTED.mkdir(exist_ok=True)
            page(case).write_bytes(printed.encode())
        assert page(case).read_bytes().decode() == printed


def test_every_page_belongs_to_a_case() -> None:
    assert {path.stem for path in EXPECTED.iterdir()} == {case.name for case in CASES}


PAIRS = [(name, case) for name in MAKERS for case in CASES if not (name == "helm-v3" and case.since > 3)]


@pytest.mark.parametrize(
    ("helm", "case"), PAIRS, ids=[f"{name}-{case.name}" for name, case in PAIRS], indirect=["helm"]
)
async def test_every_helm_gives_the_same_documents_in_the_same_order(
    case: Case, helm: Helm, charts: Path
) -> None:
    rendered = await helm.render(case.request(charts))
    assert parsed(rendered.text) == parsed(page(case).read_bytes().decode())
    assert rendered.notes == NOTES.get(case.name, "")


async def test_helm_4_in_any_form_gives_the_very_bytes_as_a_whole_and_in_parts(charts: Path) -> None:
    parts: dict[str, list[Rendered]] = {}
    for name in MAKERS.keys() - {"helm-v3"}:
        async with aclosing(MAKERS[name]()) as helm:
            parts[name] = [await helm.render(case.request(charts)) for case in CASES]
            assert await helm.template(CASES[0].request(charts)) == parts[name][0].text
        assert [rendered.text for rendered in parts[name]] == [
            page(case).read_bytes().decode() for case in CASES
        ]
    assert all(rendered == parts["embedded"] for rendered in parts.values())


@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_hooks_and_crds_are_told_from_manifests(case: Case, helm: Helm, charts: Path) -> None:
    rendered = await helm.render(case.request(charts))
    assert [name for name in map(hook, parsed(rendered.manifests)) if name] == []
    assert all(map(hook, parsed(rendered.hooks)))
    assert {document["kind"] for document in parsed(rendered.crds)} <= {"CustomResourceDefinition"}


def hook(document: Any) -> str | None:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    return annotations.get("helm.sh/hook")


async def test_hooks_come_in_helms_order_and_unknown_ones_are_left_out(helm: Helm, charts: Path) -> None:
    rendered = await helm.render(Case("hooks").request(charts))
    names = [document["metadata"]["name"] for document in parsed(rendered.hooks)]
    assert names == ["migrate", "odd-weight", "cleanup", "migrate", "first"]
    assert "unknown-hook" not in rendered.text


async def test_crds_can_be_left_out(helm: Helm, charts: Path) -> None:
    with_them = await helm.render(Case("crds").request(charts))
    without = await helm.render(Case("crds").request(charts, include_crds=False))
    names = [document["metadata"]["name"] for document in parsed(with_them.crds)]
    assert sorted(names) == [f"{name}.example.org" for name in ("fours", "ones", "subs", "threes", "twos")]
    assert without == Rendered("", with_them.manifests, with_them.hooks, with_them.notes)
    assert [document["kind"] for document in parsed(without.manifests)] == ["CustomResourceDefinition", "One"]


async def test_a_relative_path_is_a_folder_and_no_repository(
    helm: Helm, charts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(charts.parent)
    case = Case("simple")
    assert await helm.render(case.request(Path("charts"))) == await helm.render(case.request(charts))


async def test_rendering_changes_nothing_and_forgets_the_last_values(helm: Helm, charts: Path) -> None:
    before = contents(charts / "conditions")
    first = await helm.render(Case("conditions").request(charts))
    await helm.render(Case("conditions").request(charts, values={"hot": {"enabled": False}}))
    assert await helm.render(Case("conditions").request(charts)) == first
    assert contents(charts / "conditions") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_many_renders_at_once_do_not_mix(helm: Helm, charts: Path) -> None:
    cases = [
        case for case in CASES if case.name in ("conditions", "globals", "hooks", "notes", "strings")
    ] * 4
    rendered: dict[int, str] = {}

    async def render(number: int, case: Case) -> None:
        rendered[number] = (await helm.render(case.request(charts))).text

    async with anyio.create_task_group() as tasks:
        for number, case in enumerate(cases):
            tasks.start_soon(render, number, case)
    for number, case in enumerate(cases):
        assert parsed(rendered[number]) == parsed(page(case).read_bytes().decode())


BROKEN: list[tuple[str, type[HelmError], str]] = [
    ("fail", RenderError, r"fail/templates/a\.yaml:3:3\)?: .*told to fail"),
    ("nil", RenderError, r"nil/templates/a\.yaml:4:\d+"),
    ("syntax", RenderError, r"syntax/templates/a\.yaml:4\): unexpected EOF"),
    ("function", RenderError, r'function/templates/a\.yaml:2\): function "noSuchFunction" not defined'),
    ("not-yaml", RenderError, r"YAML parse error on not-yaml/templates/a\.yaml: .*line 3"),
    ("not-an-object", RenderError, r"YAML parse error on not-an-object/templates/a\.yaml"),
    ("annotations", RenderError, r"YAML parse error on annotations/templates/a\.yaml"),
    ("subchart", RenderError, r"subchart/charts/sub/templates/deep/a\.yaml:3:\d+\)?: .*sub\.name is needed"),
    ("notes", RenderError, r"notes/templates/NOTES\.txt:2:\d+\)?: .*in the notes"),
    ("recursion", RenderError, r"recursion/templates/a\.yaml:2:"),
    ("dependency", ChartError, "found in Chart.yaml, but missing in charts/ directory: absent"),
    ("library", ChartError, "library charts are not installable"),
    ("chart-yaml", ChartError, r"cannot load Chart\.yaml"),
    ("no-version", ChartError, r"chart\.metadata\.version is required"),
    ("values", ChartError, r"cannot load values\.yaml"),
    ("no-chart", ChartError, r"Chart\.yaml"),
    ("absent", ChartError, "absent"),
    ("cut.tgz", ChartError, r"unexpected EOF|unable to load chart archive"),
    ("rubbish.tgz", ChartError, r"does not appear to be a gzipped archive|invalid header"),
]


@pytest.mark.parametrize(("chart", "error", "words"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_a_broken_chart_fails_in_helms_own_words(
    chart: str, error: type[HelmError], words: str, helm: Helm, charts: Path
) -> None:
    with pytest.raises(error, match=words) as caught:
        await helm.render(RenderRequest(charts / "broken" / chart, "demo", "shop", {}, KUBE))
    assert type(caught.value) is error
    assert str(charts / "broken" / chart) in str(caught.value)
    assert len(str(caught.value)) < 5000


WRONG: list[tuple[str, dict[str, Any], type[HelmError], str]] = [
    ("schema", {"values": {"replicas": "three"}}, ValuesError, r"/replicas': got string, want integer"),
    ("schema", {"values": {"mode": "odd", "replicas": None}}, ValuesError, "replicas"),
    ("required", {}, RenderError, r"required/templates/a?.*a name is needed, set `\.name`"),
    ("simple", {"values": {"x": float("nan")}}, ValuesError, "values cannot be given to Helm"),
    ("simple", {"values": {"x": {1, 2}}}, ValuesError, "values cannot be given to Helm"),
    (
        "kube-version",
        {"capabilities": Capabilities("v1.31.2")},
        ChartError,
        r"chart requires kubeVersion: .* v1\.31\.2",
    ),
    ("kube-version", {"capabilities": Capabilities("rubbish")}, HelmError, "rubbish"),
    ("simple", {"release": "Not_A_Name"}, HelmError, "invalid release name"),
    ("simple", {"release": "x" * 54}, HelmError, "invalid release name"),
]


@pytest.mark.parametrize(("chart", "changes", "error", "words"), WRONG)
async def test_what_is_asked_wrongly_is_refused(
    chart: str, changes: dict[str, Any], error: type[HelmError], words: str, helm: Helm, charts: Path
) -> None:
    request = {"release": "demo", "namespace": "shop", "capabilities": KUBE} | changes
    with pytest.raises(error, match=words):
        await helm.render(RenderRequest(charts / chart, **request))


async def test_endless_recursion_is_told_in_a_few_words(helm: Helm, charts: Path) -> None:
    with pytest.raises(RenderError, match=r"characters left out|recursion") as caught:
        await helm.render(RenderRequest(charts / "broken" / "recursion", "demo", "shop", {}, KUBE))
    assert len(caught.value.text) < 4200


async def test_lint_finds_what_is_wrong_and_says_where(helm: Helm, charts: Path) -> None:
    found = await helm.lint(charts / "broken" / "nil", {})
    assert LintMessage("info", "Chart.yaml", "icon is recommended") in found
    errors = [message for message in found if message.severity == "error"]
    assert [message.path for message in errors] == ["templates/"]
    assert "nil/templates/a.yaml:4:" in errors[0].text


async def test_lint_looks_at_values_and_archives(helm: Helm, charts: Path) -> None:
    good = await helm.lint(charts / "schema", {})
    bad = await helm.lint(charts / "schema", {"replicas": 0})
    packed = await helm.lint(charts / "packaged-0.1.0.tgz", {})
    assert [message.severity for message in good] == ["info"]
    assert "error" in [message.severity for message in bad]
    assert {message.severity for message in packed} == {"info"}


@pytest.mark.parametrize("chart", ["absent", "no-chart"])
async def test_lint_of_what_is_no_chart_is_an_error(chart: str, helm: Helm, charts: Path) -> None:
    with pytest.raises(ChartError, match=r"Chart\.yaml"):
        await helm.lint(charts / "broken" / chart, {})


async def test_a_version_is_a_version(helm: Helm) -> None:
    assert (await helm.version()).startswith(("v3.", "v4."))


@pytest.mark.parametrize("name", MAKERS)
async def test_an_endless_chart_is_stopped_at_its_time_limit_and_the_next_one_renders(
    name: str, charts: Path
) -> None:
    before = helms()
    async with aclosing(MAKERS[name](time_limit=1.0)) as helm:
        with pytest.raises(HelmTimeout, match="time limit of 1 s"):
            await helm.render(RenderRequest(charts / "endless", "demo", "shop"))
        assert helms() == before
        assert (await helm.render(Case("simple").request(charts))).notes == "Thank you for demo\n"
    assert helms() == before


@pytest.mark.parametrize("name", MAKERS)
async def test_a_cancelled_render_leaves_no_process_behind(name: str, charts: Path) -> None:
    before = helms()
    async with aclosing(MAKERS[name]()) as helm:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(helm.render, RenderRequest(charts / "endless", "demo", "shop"))
                while not any(map(is_busy, helms() - before)):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert helms() == before
        assert (await helm.render(Case("simple").request(charts))).notes == "Thank you for demo\n"


def children() -> Iterator[int]:
    """All that descend from this process, zombies aside."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            parents[int(stat.parent.name)] = int(parent)
    for pid in parents:
        above: int | None = pid
        while above := parents.get(above or 0):
            if above == os.getpid():
                yield pid


def helms() -> set[int]:
    return set(filter(is_helm, children()))


def is_helm(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].endswith("helm")
    except OSError:
        return False


def is_busy(pid: int) -> bool:
    """Whether it has had a third of a second of a core: it renders."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) > 33
    except OSError:
        return False


async def test_the_fake_keeps_the_contract_for_charts_as_simple_as_itself(charts: Path) -> None:
    case = Case("simple")
    rendered = await FakeHelm().render(case.request(charts))
    assert rendered.text == page(case).read_bytes().decode()
    assert rendered.notes == NOTES["simple"]
    with pytest.raises(ChartError, match=r"Chart\.yaml file is missing"):
        await FakeHelm().render(RenderRequest(charts / "broken" / "no-chart", "demo", "shop"))
    with pytest.raises(RenderError, match=r"fail/templates/a\.yaml:3: "):
        await FakeHelm().render(RenderRequest(charts / "broken" / "fail", "demo", "shop"))
    with pytest.raises(RenderError, match=r"YAML parse error on not-yaml/templates/a\.yaml"):
        await FakeHelm().render(RenderRequest(charts / "broken" / "not-yaml", "demo", "shop"))


@pytest.fixture(scope="module")
def printer(charts: Path) -> Path:
    """A chart that prints one value as a template sees it."""
    chart = charts / "printer"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: printer\nversion: 1.0.0\n")
    (chart / "templates" / "a.yaml").write_text("value: {{ .Values.n }}\n")
    return chart


PRINTED = {
    999_999: "999999",
    1_000_000: "1e+06",
    -12_345_678_901: "-1.2345678901e+10",
    0: "0",
    2**60: "1.152921504606847e+18",
    123_456_789.5: "1.234567895e+08",
    0.0001: "0.0001",
    0.00001: "1e-05",
    1.50: "1.5",
    True: "true",
    "1000000": "1000000",
}


async def test_every_helm_prints_a_number_alike_whether_a_file_or_set_values_gave_it(
    helm: Helm, printer: Path
) -> None:
    for number, printed in PRINTED.items():
        for values in (final_values([{"n": number}]), final_values([], {"n": number})):
            request = RenderRequest(printer, "demo", "shop", values, KUBE)
            for one in (helm, FakeHelm()):
                assert (await one.render(request)).manifests.endswith(f"\nvalue: {printed}\n")
