"""The process in which Helm's own library works on releases: one connection for each call, a thread for each.

Deploying is mostly waiting, so one process carries hundreds of calls. Started and killed by `embedded_releases.py`. The
field manager of what is applied is the name of this program, which is why it is called `helm`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from .worker import Refused

STACK = 512 * 1024  # bytes; hundreds of threads that only wait in a native call
UNTHROTTLED = {"qps": 1000.0, "burst_limit": 2000}  # the library's own 5 a second stop after some 15 releases


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    threading.stack_size(STACK)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    os.set_blocking(2, False)  # nobody need read what the library tells the terminal
    _load()
    control.sendall(b".")
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            os._exit(0)  # the parent is gone; native calls may be running and would hold up any other exit
        connection = socket.socket(fileno=descriptors[0])
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _load() -> None:
    from helm_python import _native

    _native.helm_sdk_version()


def _serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as lines, suppress(OSError):
        if line := lines.readline():
            connection.sendall(_answer_to(line))


def _answer_to(line: bytes) -> bytes:
    from helm_python import HelmError

    request = json.loads(line)
    try:
        answer = {"ok": _DO[request.pop("do")](**request)}
    except HelmError as error:
        answer = {"text": error.detail}
    except Refused as error:
        answer = {"text": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who asked is told
        answer = {"text": f"{type(error).__name__}: {error}"}
    return json.dumps(answer).encode() + b"\n"


def _config(context: str | None, namespace: str | None) -> Any:
    """One for each call: one of many is slower to share than to make."""
    from helm_python import Config

    return Config(kube_context=context, namespace=namespace, **UNTHROTTLED, **_kubeconfig())  # type: ignore[arg-type]


@cache
def _kubeconfig() -> Mapping[str, str]:
    """Several files at once are one file to the library; what they say together is put where no kill leaves it behind."""
    named = os.environ.get("KUBECONFIG", "")
    if os.pathsep not in named:
        return {}
    from .kubeconfigs import merged

    content = json.dumps(merged(named))
    if sys.platform != "linux":
        return {"kubeconfig_content": content}
    descriptor = os.memfd_create("kubeconfig")
    os.write(descriptor, content.encode())
    return {"kubeconfig_path": f"/proc/self/fd/{descriptor}"}


def _deploy(
    how: str,
    context: str | None,
    chart: str,
    name: str,
    namespace: str,
    values: str,
    options: Mapping[str, Any],
) -> Any:
    from helm_python import Chart, _native

    # A handle of its own: rendering removes disabled subcharts from it for ever.
    with Chart.load(chart) as handle, _config(context, namespace) as config:
        if (kind := handle.metadata.get("type") or "application") != "application":
            raise Refused("chart", f"{kind} charts are not installable")  # the library itself lets it pass
        # The package's own keyword arguments lack most options; the call beneath has them.
        made = _native.call_string(
            f"helm_{how}",
            config._raw(),
            _native.HANDLE(0),
            handle._raw(),
            None,
            name,
            values,
            json.dumps({"namespace": namespace, **options}),
        )
    return _summary(json.loads(made))


def _rollback(context: str | None, name: str, namespace: str, options: Mapping[str, Any]) -> Any:
    from helm_python import _native

    with _config(context, namespace) as config:
        _native.call_status("helm_rollback", config._raw(), name, json.dumps(options))
        return max(map(_summary, config.history(name)), key=itemgetter("revision"))


def _uninstall(context: str | None, name: str, namespace: str, options: Mapping[str, Any]) -> None:
    from helm_python import _native

    with _config(context, namespace) as config:
        _native.call_string("helm_uninstall", config._raw(), name, json.dumps(options))


def _look(context: str | None, files: Mapping[str, str], name: str) -> str:
    """The notes that a chart has for the live server; nothing is installed."""
    from helm_python import Chart

    with Chart.load_archive(_archive(name, files)) as handle, _config(context, "default") as config:
        return str(config.install(handle, name, namespace="default", dry_run="server")["notes"])


def _archive(name: str, files: Mapping[str, str]) -> bytes:
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()


def _list(context: str | None, namespace: str | None) -> Any:
    with _config(context, namespace) as config:
        found = config.list(all_states=True, all_namespaces=namespace is None, limit=1_000_000)
    return [_summary(release) for release in found]


def _history(context: str | None, name: str, namespace: str) -> Any:
    with _config(context, namespace) as config:
        return [_summary(release) for release in config.history(name, max_revisions=1_000_000)]


def _get(context: str | None, name: str, namespace: str, revision: int | None) -> Any:
    with _config(context, namespace) as config:
        found = config.get_all(name, revision=revision)
    summary = found["summary"]
    return {
        "release": _summary(summary),
        "manifest": summary.get("manifest", ""),
        "hooks": found.get("hooks") or [],
        "values": found.get("config") or {},
        "notes": summary.get("notes", ""),
    }


def _summary(release: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in release.items() if key not in ("manifest", "notes")}


_DO: dict[str, Callable[..., Any]] = {
    "deploy": _deploy,
    "rollback": _rollback,
    "uninstall": _uninstall,
    "list": _list,
    "history": _history,
    "get": _get,
    "look": _look,
}

if __name__ == "__main__":
    main()
