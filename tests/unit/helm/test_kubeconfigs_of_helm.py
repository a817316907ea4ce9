"""Several kubeconfigs as one, as client-go merges them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sbkube.helm.kubeconfigs import merged


def written(path: Path, **config: Any) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return str(path)


def test_the_first_file_that_says_something_wins_and_a_missing_one_says_nothing(tmp_path: Path) -> None:
    one = written(
        tmp_path / "one", contexts=[{"name": "a", "context": {"cluster": "1"}}], **{"current-context": ""}
    )
    two = written(
        tmp_path / "two",
        contexts=[
            {"name": "a", "context": {"cluster": "2"}},
            {"name": "b", "context": {"cluster": "2", "namespace": "n"}},
        ],
        users=[{"name": "u", "user": {"token": "t"}}],
        **{"current-context": "b"},
    )
    empty = tmp_path / "empty"
    empty.touch()
    assert merged(os.pathsep.join([str(tmp_path / "missing"), one, "", str(empty), two])) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": "a", "context": {"cluster": "1"}},
            {"name": "b", "context": {"cluster": "2", "namespace": "n"}},
        ],
        "current-context": "b",
    }


def test_paths_are_meant_from_the_folder_of_their_file(tmp_path: Path) -> None:
    user = {
        "client-certificate": "certs/me.crt",
        "client-key": "/etc/me.key",
        "tokenFile": "",
        "exec": {"command": "./login", "args": ["./x"]},
    }
    one = written(
        tmp_path / "one" / "config", clusters=[{"name": "c", "cluster": {"certificate-authority": "ca.crt"}}]
    )
    two = written(
        tmp_path / "two" / "config",
        users=[{"name": "u", "user": user}, {"name": "v", "user": {"exec": {"command": "aws"}}}],
    )
    found = merged(os.pathsep.join([one, two]))
    assert found["clusters"][0]["cluster"] == {"certificate-authority": str(tmp_path / "one" / "ca.crt")}
    assert found["users"][0]["user"] == {
        "client-certificate": str(tmp_path / "two" / "certs" / "me.crt"),
        "client-key": "/etc/me.key",
        "tokenFile": "",
        "exec": {"command": str(tmp_path / "two" / "login"), "args": ["./x"]},
    }
    assert found["users"][1]["user"] == {"exec": {"command": "aws"}}
