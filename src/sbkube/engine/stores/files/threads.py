"""Threads that may hang in a disk: all of them daemons, so that the process can end all the same.

Time is the real clock's and is measured in threads: the event loop's may be a test's that jumps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter
from anyio.lowlevel import current_token
from anyio.to_thread import run_sync

T = TypeVar("T")
Callback = Callable[[], None]
Post = Callable[[Callback], None]


def post_to_this_loop() -> Post:
    native: Any = current_token().native_token
    # asyncio's loop and trio's token call it differently; both may have ended when a late answer comes.
    call = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon

    def post(run: Callback) -> None:
        try:
            call(run)
        except RuntimeError:
            return

    return post


async def on_thread(work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """With a token of its own: steps that fill all worker threads must not keep the store from closing."""
    return await run_sync(work, abandon_on_cancel=abandon_on_cancel, limiter=CapacityLimiter(1))


async def in_time(work: Callable[[], T], limit: float) -> T:
    """What `work` returns, from a thread; raises TimeoutError after `limit` seconds and leaves the thread behind."""
    post, answered = post_to_this_loop(), anyio.Event()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            outcome.set_exception(error)
        post(answered.set)

    thread = threading.Thread(target=run, name="sbkube state", daemon=True)
    timer = threading.Timer(limit, post, [answered.set])
    timer.name, timer.daemon = "sbkube time limit", True
    timer.start()
    thread.start()
    try:
        with anyio.CancelScope(shield=True):
            await answered.wait()
    finally:
        timer.cancel()
    if not outcome.done():
        raise TimeoutError(f"no answer for {limit:g} s")
    thread.join()
    timer.join()
    return outcome.result()


class Watch:
    """Tells once if what is watched stays busy longer than `limit` seconds: what hangs cannot report itself."""

    def __init__(self, busy_since: Callable[[], float | None], limit: float, tell: Callback) -> None:
        self._busy_since = busy_since
        self._limit = limit
        self._tell = tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sbkube watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(min(1.0, self._limit / 4)):
            since = self._busy_since()
            if since is not None and time.monotonic() - since > self._limit:
                self._tell()
                return
