"""The cache under many processes at once, kills, a disk that is full and one that may only be read."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sbkube.fetch.cache import Cache

from .test_full_disk import NAMESPACE, _can_mount

KEEPS = """
import sys
from pathlib import Path
from sbkube.fetch.cache import Cache
cache = Cache(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    incoming = cache.incoming()
    for _ in range(20):
        incoming.write(bytes([n]) * 50_000)
    cache.keep(incoming)
    cache.note("index", "the same", {"digest": incoming.digest})
    assert cache.noted("index", "the same") is not None
    print(incoming.digest, flush=True)
"""


def keeping(cache: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KEEPS, str(cache), str(count)], stdout=subprocess.PIPE, text=True
    )


def all_are_whole(cache: Path) -> bool:
    blobs = Cache(cache).blobs()
    return all(
        hashlib.sha256(Cache(cache).path(b.digest).read_bytes()).hexdigest() == b.digest for b in blobs
    )


def test_processes_that_keep_the_same_at_once_leave_one_of_each(tmp_path: Path) -> None:
    processes = [keeping(tmp_path / "cache", 20) for _ in range(5)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    assert all(output == outputs[0] for output in outputs)
    assert {blob.digest for blob in Cache(tmp_path / "cache").blobs()} == set(outputs[0])
    assert all_are_whole(tmp_path / "cache")


@pytest.mark.parametrize("after", [1, 3, 8])
def test_a_killed_process_leaves_nothing_half_written(tmp_path: Path, after: int) -> None:
    process = keeping(tmp_path / "cache", 200)
    assert process.stdout is not None
    seen = {process.stdout.readline().strip() for _ in range(after)}
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert all_are_whole(tmp_path / "cache")
    assert seen <= {blob.digest for blob in Cache(tmp_path / "cache").blobs()}
    assert Cache(tmp_path / "cache").noted("index", "the same") is not None


if _can_mount():

    def on_a_disk(folder: Path, options: str, script: str) -> str:
        ended = subprocess.run(
            [*NAMESPACE, "sh", "-c", f'mount -t tmpfs -o {options} tmpfs "$1"\n{script}', "sh", folder],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return ended.stdout + ended.stderr

    def test_a_full_disk_is_told_and_holds_no_part_of_a_blob(tmp_path: Path) -> None:
        script = f"{sys.executable} -c '{KEEPS}' \"$1/cache\" 9; find \"$1/cache/blobs\" -type f -printf '%s bytes\\n'"
        told = on_a_disk(tmp_path, "size=3500k", script)
        assert "CacheUnusable: cannot write in the cache" in told
        assert "No space left on device" in told
        assert [line for line in told.splitlines() if line.endswith(" bytes")] == ["1000000 bytes"] * 3

    def test_a_cache_that_may_only_be_read_still_gives(tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        reads = (
            "import sys; from pathlib import Path; from sbkube.fetch.cache import Cache;"
            "cache = Cache(Path(sys.argv[1])); print(cache.find(sys.argv[2])); cache.incoming()"
        )
        digest = hashlib.sha256(bytes([0]) * 1_000_000).hexdigest()
        told = on_a_disk(
            disk,
            "size=9m",
            f'{sys.executable} -c \'{KEEPS}\' "$1/cache" 1 >/dev/null; mount -o remount,ro "$1"\n'
            f"{sys.executable} -c '{reads}' \"$1/cache\" {digest}",
        )
        assert f"{disk}/cache/blobs/{digest[:2]}/{digest}\n" in told
        assert "CacheUnusable: cannot write in the cache" in told
        assert "Read-only file system" in told
