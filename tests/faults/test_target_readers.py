"""Another process reads the directory target all the time while runs replace what is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .cli_project import CliProject

APPS = [f"app{n}" for n in range(10)]

# Each file of an app says which generation it is of, and each folder holds all of its files. A look that was held
# up for longer than a replaced folder is kept proves nothing.
READS = """
import json, os, re, select, sys, time

root, files = sys.argv[1], {"crds.yaml", "manifests.yaml"}
apps = set(sys.argv[2:])
wrong, looks, seen = [], 0, set()

def look(folder):
    names = set(os.listdir(folder))
    if names != files:
        return f"holds {sorted(names)}"
    found = set()
    for name in sorted(names):
        with open(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
            found |= set(re.findall(r"generation: (\\S+)", file.read()))
    seen.update(found)
    return None if len(found) == 1 else f"is of {sorted(found)}"

def look_at_all():
    # All are open before any is read: the longer between the two, the more can happen in it.
    folders = {app: os.open(os.path.join(root, app), os.O_RDONLY | os.O_DIRECTORY) for app in sorted(apps)}
    try:
        return [f"{app} {what}" for app, folder in folders.items() if (what := look(folder))]
    finally:
        for folder in folders.values():
            os.close(folder)

print("looks", flush=True)
while not select.select([0], [], [], 0)[0]:
    begun = time.monotonic()
    missing = apps - set(os.listdir(root))
    if missing:
        wrong.append(f"missing: {sorted(missing)}")
    try:
        broken = look_at_all()
    except FileNotFoundError as error:
        broken = [str(error)]
    if time.monotonic() - begun < 0.2:
        wrong += broken
    looks += 1
print(json.dumps({"wrong": wrong[:10], "looks": looks, "seen": sorted(seen)}))
"""

MANIFEST = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things.{app}.example.com
  annotations:
    generation: {generation}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {app}
  annotations:
    generation: {generation}
data:
  padding: {padding}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        project.config({app: {"type": "yaml", "manifests": [f"{app}.yaml"]} for app in APPS})
        yield project


def run_generation(project: CliProject, generation: int) -> None:
    for app in APPS:
        text = MANIFEST.format(app=app, generation=f"g{generation}", padding="x" * 20_000)
        (project.root / f"{app}.yaml").write_text(text, encoding="utf-8")
    told = project.run("run")
    assert told.code == 0, told


def read_while(project: CliProject, generations: range) -> None:
    rendered = project.root / "rendered"
    run_generation(project, generations[0] - 1)
    command = [sys.executable, "-c", READS, str(rendered), *APPS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "looks\n"
        for generation in generations:
            run_generation(project, generation)
        found = json.loads(reader.communicate()[0])
    assert found["wrong"] == []
    assert found["looks"] > len(generations)
    # It saw runs at work, not only what was there before and after.
    assert len(found["seen"]) >= len(generations) - 1
    assert sorted(path.name for path in rendered.iterdir()) == [".sbkube-apps.json", *APPS]


def test_a_reader_never_finds_an_app_missing_empty_or_mixed(project: CliProject) -> None:
    read_while(project, range(1, 6))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reader_never_finds_an_app_missing_empty_or_mixed_in_fifty_runs(project: CliProject) -> None:
    read_while(project, range(1, 51))
