"""Archives of charts that were made to do harm, or by accident."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sbkube.apps import archives
from sbkube.apps.archives import BadArchive, unpack

Fill = Callable[[tarfile.TarFile], object]
BLOCK = 512


def put(archive: tarfile.TarFile, name: str, content: bytes = b"x", **more: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in more.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def packed(path: Path, fill: Fill, form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=form) as archive:
        fill(archive)
    return path


def header(name: str, size: int, kind: bytes) -> bytes:
    """Of a member whose content is up to who writes it."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def raw(path: Path, *blocks: bytes) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for block in blocks:
            file.write(block)
    return path


def below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_helm_packs_is_unpacked(tmp_path: Path) -> None:
    long = "web/templates/" + "x" * 90 + "/" + "y" * 90 + ".yaml"

    def fill(archive: tarfile.TarFile) -> None:
        put(archive, "web", b"", type=tarfile.DIRTYPE)
        put(archive, "web/Chart.yaml", b"name: web\n")
        put(archive, long, b"a: b\n", mtime=1.5)
        put(archive, "web/empty", b"")

    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        into = tmp_path / str(form)
        unpack(packed(tmp_path / "web.tgz", fill, form), into)
        assert (into / "web/Chart.yaml").read_text() == "name: web\n"
        assert (into / long).read_text() == "a: b\n"
        assert (into / "web/empty").read_bytes() == b""


REFUSED: dict[str, tuple[Fill, str]] = {
    "a path out of it": (
        lambda a: put(a, "web/../../evil"),
        r"holds 'web/\.\./\.\./evil', which is no path inside",
    ),
    "an absolute path": (lambda a: put(a, "/etc/evil"), "holds '/etc/evil', which is no path inside"),
    "a link out of it": (
        lambda a: put(a, "web/link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "holds 'web/link', which is a link",
    ),
    "a link inside it": (
        lambda a: put(a, "web/link", b"", type=tarfile.SYMTYPE, linkname="Chart.yaml"),
        "holds 'web/link', which is a link",
    ),
    "a hard link": (
        lambda a: put(a, "web/link", b"", type=tarfile.LNKTYPE, linkname="web/x"),
        "holds 'web/link', which is a link",
    ),
    "a device": (
        lambda a: put(a, "web/null", b"", type=tarfile.CHRTYPE),
        "holds 'web/null', which is a device",
    ),
    "a disk": (lambda a: put(a, "web/sda", b"", type=tarfile.BLKTYPE), "holds 'web/sda', which is a device"),
    "a pipe": (lambda a: put(a, "web/p", b"", type=tarfile.FIFOTYPE), "holds 'web/p', which is a named pipe"),
    "a name twice": (
        lambda a: [put(a, "web/Chart.yaml"), put(a, "web/./Chart.yaml", b"y")],
        r"holds 'web/\./Chart\.yaml' twice",
    ),
    "a file as a folder": (
        lambda a: [put(a, "web/a"), put(a, "web/a/b")],
        "cannot be unpacked: File exists",
    ),
    "a folder as a file": (
        lambda a: [put(a, "web/a/b"), put(a, "web/a")],
        "cannot be unpacked: File exists",
    ),
    "a name that no file can have": (
        lambda a: put(a, "web/" + "x" * 300),
        "cannot be unpacked: File name too long",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_chart_holds_is_refused_by_its_name(tmp_path: Path, what: str) -> None:
    fill, told = REFUSED[what]
    with pytest.raises(BadArchive, match=told):
        unpack(packed(tmp_path / "web.tgz", fill), tmp_path / "into")
    assert {path.name for path in tmp_path.rglob("*")} <= {"web.tgz", "into", "web", "a", "b", "Chart.yaml"}


def sparse_of_gnu() -> bytes:
    """The old form: where the data are stands in the header itself."""
    block = bytearray(header("web/sparse", 0, tarfile.GNUTYPE_SPARSE))
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[482], block[483:495] = 0, b"%011o\0" % (1 << 32)
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def extended(**values: str) -> bytes:
    member = tarfile.TarInfo("web/x")
    member.pax_headers = values
    return member.tobuf(tarfile.PAX_FORMAT)


def test_a_sparse_file_is_refused_before_it_is_made(tmp_path: Path) -> None:
    pax = extended(
        **{"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0", "GNU.sparse.size": "9"}
    )
    for name, content in (("gnu", sparse_of_gnu()), ("pax", pax)):
        with pytest.raises(BadArchive, match="which is a sparse file"):
            unpack(raw(tmp_path / f"{name}.tgz", content, bytes(2 * BLOCK)), tmp_path / name)
        assert below(tmp_path / name) == 0


ZEROS = bytes(1024 * 1024)
ENDLESS_MAP = extended(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})[:-BLOCK] + header(
    "web/x", 1 << 33, b"0"
)
BOMBS: dict[str, tuple[list[bytes], str]] = {
    "a header of gigabytes": (
        [header("h", 4 << 30, tarfile.XHDTYPE), *[ZEROS] * 200],
        "a header of more than 1 MiB",
    ),
    "a name of gigabytes": (
        [header("h", 4 << 30, tarfile.GNUTYPE_LONGNAME), *[ZEROS] * 200],
        "a header of more than 1 MiB",
    ),
    "a global header of gigabytes": (
        [header("h", 4 << 30, tarfile.XGLTYPE), *[ZEROS] * 200],
        "a header of more than 1 MiB",
    ),
    "extended headers without end": (
        [(header("h", 13, tarfile.XHDTYPE) + b"13 path=aaaa\n".ljust(BLOCK, b"\0")) * 50_000],
        "headers without end|more than 1 MiB",
    ),
    "a map of holes without end": (
        [ENDLESS_MAP, b"9999999\n", *[b"%063d\n" % 1 * (len(ZEROS) // 64)] * 20],
        "a header of more than 1 MiB",
    ),
    "a file of gigabytes": ([header("web/x", 4 << 30, b"0"), *[ZEROS] * 200], "unpacks to more than 100 MiB"),
    "many large files": (
        [header(f"web/{n}", 30 << 20, b"0") + ZEROS * 30 for n in range(4)],
        "unpacks to more than 100 MiB",
    ),
    "nothing but zeros": ([ZEROS] * 200, "unpacks to more than 100 MiB"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_fills_neither_memory_nor_disk(tmp_path: Path, what: str) -> None:
    blocks, told = BOMBS[what]
    path = raw(tmp_path / "web.tgz", *blocks)
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match=told):
            unpack(path, tmp_path / "into")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert below(tmp_path / "into") <= archives.LARGEST


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 50)
    path = packed(tmp_path / "web.tgz", lambda a: [put(a, f"web/{n}") for n in range(51)])
    with pytest.raises(BadArchive, match="holds more than 50 files"):
        unpack(path, tmp_path / "into")
    assert len(os.listdir(tmp_path / "into/web")) == 50


def test_a_size_below_zero_does_not_go_round_in_circles(tmp_path: Path) -> None:
    for kind in (b"0", tarfile.XHDTYPE):
        block = bytearray(header("web/x", 0, kind))
        block[124:136] = (256**12 - BLOCK).to_bytes(12, "big")  # -512, as GNU writes it
        block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
        into = tmp_path / f"into-{kind!r}"
        with pytest.raises(BadArchive):
            unpack(raw(tmp_path / "web.tgz", header("web/a", 0, b"0"), bytes(block), bytes(BLOCK)), into)
        assert below(into) == 0


@pytest.mark.parametrize("cut", [10, 100, -9])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    path = packed(tmp_path / "web.tgz", lambda a: put(a, "web/Chart.yaml", os.urandom(5000)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadArchive, match="cannot be unpacked"):
        unpack(path, tmp_path / "into")


def test_an_archive_that_is_not_as_it_was_packed_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "web.tgz", lambda a: put(a, "web/Chart.yaml", b"x"))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # of the checksum behind it all
    path.write_bytes(bytes(data))
    with pytest.raises(BadArchive, match="CRC check failed"):
        unpack(path, tmp_path / "into")
