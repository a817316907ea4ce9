"""The processes in which Helm's library runs: killed, replaced, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from sbkube.helm import worker
from sbkube.helm.base import HelmCrashed, HelmMissing, RenderRequest
from sbkube.helm.embedded import EmbeddedHelm
from sbkube.process import kill_all_groups

pytestmark = pytest.mark.anyio

ENDLESS = (
    "{{ range until 100000 }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}"
)
QUICK = "kind: ConfigMap\nname: {{ .Release.Name }}"


@pytest.fixture
async def helm() -> AsyncIterator[EmbeddedHelm]:
    async with aclosing(EmbeddedHelm(workers=2)) as helm:
        yield helm
    assert workers_of(os.getpid()) == []


@pytest.fixture
def chart(tmp_path: Path) -> Callable[..., RenderRequest]:
    def make(template: str = QUICK, **values: Any) -> RenderRequest:
        folder = tmp_path / f"chart-{len(list(tmp_path.iterdir()))}"
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text("{apiVersion: v2, name: chart, version: 0.1.0}")
        (folder / "templates" / "a.yaml").write_text(template)
        return RenderRequest(folder, "demo", "shop", values)

    return make


Chart = Callable[..., RenderRequest]


def workers_of(parent: int) -> list[int]:
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_worker_of(parent, pid)]


def is_worker_of(parent: int, pid: int) -> bool:
    try:
        state, above = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        name = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return False
    return state not in "ZX" and int(above) == parent and name.endswith("/helm")


def has_ended(pid: int) -> bool:
    """With all its threads: `/proc` calls it a zombie as soon as the first one is."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def environment_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def cpu(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - the kernel sends no event
            await anyio.sleep(0.01)


def busy() -> list[int]:
    return [pid for pid in workers_of(os.getpid()) if cpu(pid) > 40]


async def test_a_worker_is_called_helm_has_its_own_group_and_collects_garbage_late(
    helm: EmbeddedHelm, chart: Chart
) -> None:
    await helm.render(chart())
    (pid,) = workers_of(os.getpid())
    assert is_worker_of(os.getpid(), pid)  # by the name of its program
    assert os.getpgid(pid) == pid
    assert "GOGC=400" in environment_of(pid)


async def test_workers_start_when_needed_and_never_more_than_allowed(
    helm: EmbeddedHelm, chart: Chart
) -> None:
    assert workers_of(os.getpid()) == []
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(helm.render, chart())
    assert 1 <= len(workers_of(os.getpid())) <= 2


async def test_a_killed_worker_fails_its_own_request_and_no_other(helm: EmbeddedHelm, chart: Chart) -> None:
    crashes: list[HelmCrashed] = []

    async def crash() -> None:
        with pytest.raises(HelmCrashed) as caught:
            await helm.render(chart(ENDLESS))
        crashes.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crash)
        await until(busy)
        assert "name: demo" in (await helm.render(chart())).manifests
        os.kill(busy()[0], signal.SIGKILL)
    assert "killed by SIGKILL" in crashes[0].text
    assert "name: demo" in (await helm.render(chart())).manifests


async def test_an_idle_worker_that_was_killed_is_replaced_unnoticed(helm: EmbeddedHelm, chart: Chart) -> None:
    await helm.render(chart())
    (pid,) = workers_of(os.getpid())
    os.kill(pid, signal.SIGKILL)
    await until(lambda: has_ended(pid))
    assert "name: demo" in (await helm.render(chart())).manifests


async def test_a_chart_that_eats_memory_ends_its_worker_which_says_so(
    chart: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = "import sys; sys.path[:] = sys.argv[2:]; from sbkube.helm import worker; worker.MEMORY = 3 * 1024**3; worker.main()"
    monkeypatch.setattr("sbkube.helm.embedded._PROGRAM", limited)
    async with aclosing(EmbeddedHelm(workers=1)) as helm:
        with pytest.raises(HelmCrashed, match=r"out of memory|cannot allocate memory"):
            await helm.render(chart("{{ $x := until 2000000000 }}"))
        assert "name: demo" in (await helm.render(chart())).manifests


async def test_cancelling_at_any_moment_leaves_nothing_behind(chart: Chart) -> None:
    for moment in (lambda: True, lambda: workers_of(os.getpid()), busy):
        helm = EmbeddedHelm(workers=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(helm.render, chart(ENDLESS))
            await until(moment)
            tasks.cancel_scope.cancel()
        assert workers_of(os.getpid()) == []


async def test_the_last_ctrl_c_kills_workers_too(helm: EmbeddedHelm, chart: Chart) -> None:
    async def render() -> None:
        with pytest.raises(HelmCrashed, match="killed by SIGKILL"):
            await helm.render(chart(ENDLESS))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(render)
        await until(busy)
        kill_all_groups()
    assert workers_of(os.getpid()) == []


async def test_a_parent_that_is_killed_leaves_no_worker_even_in_the_middle_of_a_render(chart: Chart) -> None:
    program = f"""
import anyio
from pathlib import Path
from sbkube.helm.base import RenderRequest
from sbkube.helm.embedded import EmbeddedHelm
anyio.run(EmbeddedHelm().render, RenderRequest(Path({str(chart(ENDLESS).chart)!r}), "demo", "shop"))
"""
    parent = await anyio.open_process([sys.executable, "-c", program], stdout=None, stderr=None)
    async with parent:
        await until(lambda: [pid for pid in workers_of(parent.pid) if cpu(pid) > 40])
        found = workers_of(parent.pid)
        parent.kill()
        await parent.wait()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found))


async def test_helms_notices_stay_off_the_terminal_and_stop_nothing_however_many(
    helm: EmbeddedHelm, chart: Chart, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [f"a-rather-long-name-{number}" for number in range(3000)]
    request = chart(**dict.fromkeys(names, "no table"))
    (request.chart / "values.yaml").write_text("".join(f"{name}: {{b: c}}\n" for name in names))
    for _ in range(3):  # each says 200 kB, more than a pipe holds
        await helm.render(request)
    assert capfd.readouterr() == ("", "")


async def test_a_library_that_cannot_be_loaded_is_a_missing_helm(
    chart: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "import sys; sys.path[:] = sys.argv[2:]; sys.modules['helm_python'] = None; from sbkube.helm.worker import main; main()"
    monkeypatch.setattr("sbkube.helm.embedded._PROGRAM", absent)
    async with aclosing(EmbeddedHelm()) as helm:
        with pytest.raises(HelmMissing, match="Helm's library cannot be loaded") as caught:
            await helm.render(chart())
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


async def test_a_worker_that_cannot_even_start_says_why(
    chart: Chart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbkube.helm.embedded._PROGRAM", "raise SystemExit('no start today')")
    async with aclosing(EmbeddedHelm()) as helm:
        with pytest.raises(HelmCrashed, match=r"exit code 1.*no start today"):
            await helm.render(chart())


async def test_no_descriptor_is_left_open(chart: Chart) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with aclosing(EmbeddedHelm()) as helm:
            await helm.render(chart())
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_render_that_ends_after_the_closing_leaves_no_worker(chart: Chart) -> None:
    helm = EmbeddedHelm(workers=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(helm.render, chart("{{ range until 2000 }}{{ range until 2000 }}{{ end }}{{ end }}"))
        await until(lambda: workers_of(os.getpid()))
        await helm.aclose()
    assert workers_of(os.getpid()) == []


def test_a_request_that_the_worker_does_not_understand_is_answered() -> None:
    assert b'"error": "helm"' in worker._answer_to(b"{}\n")
    assert b'"error": "helm"' in worker._answer_to(b"rubbish\n")
