"""The registry of the distribution project as a process of its own, in a folder that goes with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .certificates import Authority

USER, PASSWORD = "me", "secret"
_HASHED = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
"""That password as bcrypt, which is all that it takes and nothing that Python has."""


def found() -> list[str]:
    """The programs in SBKUBE_TEST_REGISTRY (joined by `:`), else Debian's on PATH, else none."""
    named = [path for path in os.environ.get("SBKUBE_TEST_REGISTRY", "").split(":") if path]
    on_path = shutil.which("docker-registry")
    return named or ([on_path] if on_path else [])


@dataclass(slots=True)
class DockerRegistry:
    program: str
    folder: Path
    login: bool = False
    authority: Authority | None = None
    port: int = 0
    _process: subprocess.Popen[str] = field(init=False)
    _reader: threading.Thread = field(init=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        config = self.folder / "config.yml"
        config.write_text(json.dumps(self._config()))
        environ = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        self._process = subprocess.Popen(
            [self.program, "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if (listening := re.search(r"listening on 127\.0\.0\.1:(\d+)", line)) is not None:
                self.port = int(listening[1])
                break
        else:
            self._process.wait()
            raise AssertionError(f"{self.program} did not start: {''.join(said)}")
        # read on, or it would stop when the pipe is full
        self._reader = threading.Thread(target=self._process.stderr.read)
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _config(self) -> dict[str, object]:
        """YAML that is JSON."""
        http: dict[str, object] = {"addr": "127.0.0.1:0"}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}},
            "http": http,
        }
        if self.authority is not None:
            certificate, key = self.authority.served()
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
        if self.login:
            htpasswd = self.folder / "htpasswd"
            htpasswd.write_text(f"{USER}:{_HASHED}\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
        return config
