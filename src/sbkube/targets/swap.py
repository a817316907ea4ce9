"""Two folders change places in one step, so that a reader finds the one or the other, never none.

Linux and macOS have a call for it, but not every file system takes it (NFS, many FUSE ones). There a pair of
renames must do; a crash between the two leaves the folder under the name it was put aside to.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS
_REFUSED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def swap_folders(new: Path, place: Path, aside: Path) -> None:
    """Puts `new` in place of `place`; what was there is then at `new`, or else at `aside`."""
    if not exchange(new, place):
        rename_pair(new, place, aside)


def exchange(one: Path, other: Path) -> bool:
    """False where system or file system cannot do it; nothing has happened then."""
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _REFUSED:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def rename_pair(new: Path, place: Path, aside: Path) -> None:
    os.rename(place, aside)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(aside, place)
        raise


@functools.cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            rename = libc.renamex_np
            rename.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)
            return lambda one, other: int(rename(one, other, _EXCHANGE))
        renameat2 = libc.renameat2
    except AttributeError:
        return None
    renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return lambda one, other: int(renameat2(_HERE, one, _HERE, other, _EXCHANGE))
