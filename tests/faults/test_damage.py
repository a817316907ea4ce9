"""Journals that were cut, rotted, or edited: what was saved is read as it was, or refused, and never just missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbkube.engine import (
    ExecutionState,
    FileStore,
    Retry,
    StateCorrupt,
    StateTooNew,
    Step,
    StepContext,
    StepGraph,
    run_graph,
)
from sbkube.engine.errors import EngineError
from sbkube.engine.stores.files.journal import Encoder, read_lines
from sbkube.engine.stores.files.recovery import read_journal
from sbkube.engine.testing import as_shown

from .helpers import all_bytes, graph_of, recovered

FILE = Path("000001.jsonl")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a run that ended by itself."""
    path = tmp_path_factory.mktemp("closed") / "s"
    anyio.run(_run, path)
    return path


async def _run(path: Path, profile: str | None = None, resume: str = "no") -> ExecutionState:
    async with FileStore.open(path) as store:
        return await run_graph(graph_of(lambda step: step.id), store=store, profile=profile, resume=resume)  # type: ignore[arg-type]


def journal(path: Path, number: int = 1) -> Path:
    return path / "journal" / f"{number:06}.jsonl"


def folds(data: bytes) -> list[ExecutionState]:
    """What the journal said after each of its records."""
    lines = data.splitlines(keepends=True)
    read = (read_journal(b"".join(lines[:n]), FILE, 1) for n in range(1, len(lines) + 1))
    return [found.settled() for found in read if found is not None]


def test_a_journal_cut_at_any_byte_gives_the_state_after_some_record_or_is_refused(closed: Path) -> None:
    data = journal(closed).read_bytes()
    possible = [None, *folds(data)]
    for size in range(len(data) + 1):
        found = read_journal(data[:size], FILE, 1)
        assert (None if found is None else found.settled()) in possible


def test_no_flipped_bit_in_a_closed_run_goes_unnoticed(closed: Path) -> None:
    _flip_all(closed, journal(closed), 1)


@pytest.mark.slow
def test_none_of_all_bits_of_a_closed_run_can_flip_unnoticed(closed: Path) -> None:
    _flip_all(closed, journal(closed), 8)


def _flip_all(path: Path, file: Path, per_byte: int) -> None:
    whole, before = file.read_bytes(), recovered(path)
    try:
        for at, turn in itertools.product(range(len(whole)), range(per_byte)):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << (at + turn) % 8
            file.write_bytes(damaged)
            with pytest.raises(StateCorrupt):
                recovered(path)
    finally:
        file.write_bytes(whole)
    assert recovered(path) == before


def test_no_flipped_bit_goes_unnoticed_when_another_profile_ran_since(tmp_path: Path) -> None:
    """Then the latest view is not of this run, but its own is."""
    path = tmp_path / "s"
    anyio.run(_run, path)
    anyio.run(_run, path, "other")
    _flip_all(path, journal(path), 1)


def test_what_a_killed_process_left_above_its_last_sync_is_a_torn_tail() -> None:
    encoder = Encoder()
    synced = [encoder.line("x", -1, "", {}), encoder.line("x", 0, "", {})]
    batch = [encoder.line("x", 1, "", {"n": n}) for n in range(3)]
    holed = b"".join(synced) + b"\0" * len(batch[0]) + b"".join(batch[1:])
    read = read_lines(holed, FILE)
    assert read.seq == 1
    assert read.torn_at == len(b"".join(synced))


def edits(lines: list[bytes], foreign: list[bytes]) -> dict[str, list[bytes]]:
    edited = {}
    for n in range(len(lines)):
        edited[f"drop {n}"] = lines[:n] + lines[n + 1 :]
        edited[f"splice {n}"] = lines[:n] + foreign[n : n + 1] + lines[n + 1 :]
        edited[f"insert {n}"] = lines[:n] + foreign[n : n + 1] + lines[n:]
        edited[f"duplicate {n}"] = lines[: n + 1] + lines[n:]
        if n:
            edited[f"swap {n}"] = [*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]]
    return edited


def test_lines_dropped_doubled_swapped_or_taken_from_another_run_are_refused(
    closed: Path, tmp_path: Path
) -> None:
    anyio.run(_run, tmp_path / "other")
    file, before = journal(closed), recovered(closed)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    harmless = []
    try:
        for what, edited in edits(
            lines, journal(tmp_path / "other").read_bytes().splitlines(keepends=True)
        ).items():
            file.write_bytes(b"".join(edited))
            try:
                assert recovered(closed) == before, what
            except StateCorrupt:
                continue
            harmless.append(what)
    finally:
        file.write_bytes(whole)
    # Behind the last record nothing was saved that could be missing.
    assert set(harmless) <= {f"duplicate {len(lines) - 1}"}


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_no_records_or_refused(data: bytes) -> None:
    assert read_lines(data, FILE).records == []


_LINES = [Encoder().line("head", -1, "", {"format": 1})]
_encoder = Encoder()
_LINES += [_encoder.line("step", n - 1, "", {"s": "a"}) for n in range(4)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(_LINES), st.binary(max_size=60), st.just(b"\n")), max_size=12))
def test_whole_lines_among_any_bytes_are_a_chain_or_refused(parts: list[bytes]) -> None:
    try:
        read = read_lines(b"".join(parts), FILE)
    except StateCorrupt:
        return
    assert [record["seq"] for record in read.records] == list(range(len(read.records)))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["format", "run", "steps", "holder", "profile", "metadata"]),
        st.integers(0, 1) | st.text() | st.none(),
    )
)
def test_a_whole_head_that_makes_no_sense_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(EngineError):
        read_journal(Encoder().line("head", -1, "", fields), FILE, 1)


def test_a_record_that_cannot_follow_is_refused(closed: Path) -> None:
    data = journal(closed).read_bytes()
    encoder = Encoder()
    encoder.next_seq, encoder._prev = data.count(b"\n"), data[-11:-3].decode()
    data += encoder.line("step", -1, "", {"s": "a", "to": "in_progress", "attempt": 2, "key": "k"})
    with pytest.raises(StateCorrupt, match="does not follow"):
        read_journal(data, FILE, 1)


# Formats


@pytest.mark.anyio
async def test_a_newer_format_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await _run(path)
    journal(path, 2).write_bytes(
        Encoder().line("head", -1, "", {"format": 7, "writer": "sbkube 9.1"}) + b"?\n"
    )
    (path / "lock").unlink()
    before = all_bytes(path)
    with pytest.raises(StateTooNew, match=r"000002\.jsonl has format 7, written by sbkube 9\.1"):
        await FileStore.read(path).latest()
    assert all_bytes(path) == before
    with pytest.raises(StateTooNew):
        await _run(path, resume="always")
    after = all_bytes(path)
    after.pop("lock")
    assert after == before


@pytest.mark.anyio
async def test_reading_a_damaged_folder_changes_no_byte(closed: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    await _run(path)
    file = journal(path)
    file.write_bytes(file.read_bytes()[:-40])
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    reader = FileStore.read(path)
    with pytest.raises(StateCorrupt):
        await reader.latest()
    assert [state.run for state in await reader.history()] == [1]
    assert await reader.plan(1) is not None
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}


# Live state and journal


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(JSON, st.sampled_from(["ok", "fails", "repeated"]), st.integers(0, 9)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["asyncio", "trio"]),
    TEXT,
)
def test_the_journal_says_exactly_what_the_live_state_says(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[object, str, int]], backend: str, profile: str
) -> None:
    path = tmp_path_factory.mktemp("live") / "s"
    anyio.run(_check_live_state, path, plan, profile, backend=backend)


async def _check_live_state(path: Path, plan: list[tuple[object, str, int]], profile: str) -> None:

    async def body(step: StepContext) -> object:
        result, kind, _ = plan[int(step.id[1:])]
        step.metadata["seen"] = result
        if kind == "fails" or (kind == "repeated" and step.attempt == 1):
            raise ValueError(str(result))
        return result

    steps = [
        Step(
            f"s{n}",
            body,
            needs=[f"s{before}"] if before < n else [],
            retry=Retry(retries=int(kind == "repeated"), base=0.0, jitter=0.0),
        )
        for n, (_, kind, before) in enumerate(plan)
    ]
    for resume in ("no", "always", "no"):
        async with FileStore.open(path) as store:
            live = await run_graph(StepGraph(steps), store=store, resume=resume, profile=profile)
        assert recovered(path, profile) == live
        assert ExecutionState.from_json((path / "runs" / "latest.json").read_bytes()) == as_shown(live)
