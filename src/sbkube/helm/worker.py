"""The process in which Helm's own library runs: one JSON line per request, one per answer, over a socket.

Started by `embedded.py` and killed by it whenever an answer is no longer wanted: a native call cannot be cancelled.
A thread listens while the call runs, so that the end of the parent is seen at any moment. Nothing slow is imported
but the library itself.
"""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from .split import NOTES, NotADocument, arrange, joined

MEMORY = 8 * 1024**3  # bytes of address space, of which 2 GB are the library's; a runaway chart ends here


class Refused(Exception):
    """Helm's answer is no; `kind` names the error that `embedded.py` makes of it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    _be_modest()
    ready = _answer_to(b'{"do": "version"}')
    os.set_blocking(
        2, False
    )  # nobody need read: what does not fit the pipe is lost, and nothing waits for it
    connection.sendall(ready)
    while True:
        connection.sendall(_answer_to(requests.get()))


def _listen(connection: socket.socket, requests: SimpleQueue[bytes]) -> None:
    with connection.makefile("rb") as lines, suppress(OSError):
        for line in lines:
            requests.put(line)
    os._exit(0)  # the parent is gone; a native call may be running and would hold up any other exit


def _be_modest() -> None:
    """Let a chart that eats memory hit this process and no other."""
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _answer_to(line: bytes) -> bytes:
    try:
        request = json.loads(line)
        answer = {"ok": _DO[request.pop("do")](**request)}
    except Refused as refusal:
        answer = {"error": refusal.kind, "text": str(refusal)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who asked is told
        answer = {"error": "helm", "text": f"{type(error).__name__}: {error}"}
    return json.dumps(answer).encode() + b"\n"


def _version() -> str:
    from helm_python import _native

    return _native.helm_sdk_version()


def _render(
    chart: str,
    release: str,
    namespace: str,
    values: str,
    kube_version: str | None,
    api_versions: list[str],
    include_crds: bool,
    is_upgrade: bool,
) -> dict[str, str]:
    from helm_python import HelmError, _native

    options = {
        "name": release,
        "namespace": namespace,
        "is_install": not is_upgrade,
        "is_upgrade": is_upgrade,
        "kube_version": kube_version or "",
        "api_versions": api_versions,
    }
    try:
        _native.call_status("helm_release_name_validate", release)
        # A handle of its own: rendering removes disabled subcharts from it for ever.
        with _loaded(chart) as handle:
            _check(handle, kube_version)
            # The package's own keyword arguments have no capabilities; the call beneath has.
            files = json.loads(_native.call_string("helm_render", handle._raw(), values, json.dumps(options)))
            crds = handle.crds if include_crds else []
            return _arranged(handle.name, files, crds)
    except HelmError as error:
        raise Refused(_KINDS.get(error.code or 0, "render"), error.detail) from error


def _loaded(chart: str) -> Any:
    from helm_python import Chart

    return Chart.load(chart)


def _arranged(chart: str, files: dict[str, str], crds: list[dict[str, str]]) -> dict[str, str]:
    notes = files.get(f"{chart}/templates/{NOTES}", "")
    templates = {source: text for source, text in files.items() if not source.endswith(NOTES)}
    try:
        arranged = arrange(templates, _head)
    except NotADocument as error:
        raise Refused("render", str(error)) from error
    return {
        "crds": "".join(f"---\n# Source: {crd['filename']}\n{crd['data']}\n" for crd in crds),
        "manifests": joined(arranged.manifests),
        "hooks": joined(arranged.hooks),
        "notes": notes,
    }


def _head(document: str) -> Mapping[str, Any]:
    from helm_python import HelmValuesError, values_from_yaml

    try:
        return values_from_yaml(document)
    except HelmValuesError as error:
        raise ValueError(error.detail) from error


def _check(handle: Any, kube_version: str | None) -> None:
    """What `helm template` checks around the rendering, and rendering by itself does not."""
    metadata = handle.metadata
    if metadata.get("type", "") not in ("", "application"):
        raise Refused("chart", f"{metadata['type']} charts are not installable")
    present = {dependency["name"] for dependency in handle.dependencies}
    wanted = [dependency["name"] for dependency in metadata.get("dependencies") or ()]
    if missing := [name for name in wanted if name not in present]:
        raise Refused(
            "dependencies", f"found in Chart.yaml, but missing in charts/ directory: {', '.join(missing)}"
        )
    if constraint := metadata.get("kubeVersion"):
        _check_kube_version(constraint, kube_version)


def _check_kube_version(constraint: str, kube_version: str | None) -> None:
    """Helm compares versions by rules of its own: let it do so, on an empty chart with the same constraint."""
    from helm_python import Chart, Config, HelmError, _native

    options = {"dry_run": "client"} | ({"kube_version": kube_version} if kube_version else {})
    empty = Chart.load_archive(_empty_chart(constraint))
    with empty, Config(storage_driver="memory") as config:
        try:
            _native.call_string(
                "helm_install",
                config._raw(),
                _native.HANDLE(0),
                empty._raw(),
                None,
                "probe",
                None,
                json.dumps(options),
            )
        except HelmError as error:
            raise Refused("chart", error.detail) from error


def _empty_chart(constraint: str) -> bytes:
    import tarfile

    metadata = {"apiVersion": "v2", "name": "probe", "version": "0.0.0", "kubeVersion": constraint}
    data = json.dumps(metadata).encode()
    member = tarfile.TarInfo("probe/Chart.yaml")
    member.size = len(data)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def _lint(chart: str, values: str) -> list[list[str]]:
    from helm_python import HelmError, _native

    try:
        report = json.loads(_native.call_string("helm_lint_run", chart, values))
    except HelmError as error:
        raise Refused(_KINDS.get(error.code or 0, "helm"), error.detail) from error
    if not report["total_charts_linted"]:
        raise Refused("chart", "; ".join(report["errors"]))
    names = ("info", "info", "warning", "error")
    return [[names[message["severity"]], message["path"], message["error"]] for message in report["messages"]]


_DO: dict[str, Callable[..., Any]] = {"version": _version, "render": _render, "lint": _lint}

# Codes of the library's C interface: never renumbered.
_KINDS = {-20: "chart", -21: "chart", -22: "values", -23: "render", -5: "crashed"}

if __name__ == "__main__":
    main()
