"""What each stage of an app reads and leaves, with the fake Helm and the directory target."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

from sbkube.apps.charts import OutsideChart, UnusableChart
from sbkube.apps.exec import (
    CommandFailed,
    CommandNotStarted,
    CommandOverdue,
    CommandsForbidden,
    SecretMissing,
)
from sbkube.apps.files import BadFile, FileMissing
from sbkube.apps.helm import ChartFailed
from sbkube.apps.work import Outputs

pytestmark = pytest.mark.anyio


CHART = {
    "charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "charts/web/values.yaml": "a: 1\nb: {c: 2}\n",
    "charts/web/templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
        "data: {a: '{{ .Values.a }}', c: '{{ .Values.b.c }}', ns: '{{ .Release.Namespace }}'}\n"
    ),
    "charts/web/crds/crd.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n",
}
HELM = "{type: helm, chart: ./charts/web}"


async def test_a_chart_goes_through_four_stages_to_the_target(bench: Bench) -> None:
    bench.write({**CHART, "web.yaml": "b: {c: 3}\n"})
    app = "{type: helm, chart: ./charts/web, values: [web.yaml, {a: 5}], set_values: {b.c: 4}}"
    folder = await bench.through("prepare", "build", "template", "deploy", app=app)
    assert "data: {a: '5', c: '4', ns: 'shop'}" in (folder / "manifests.yaml").read_text()
    assert "CustomResourceDefinition" in (folder / "crds.yaml").read_text()
    assert [request.time_limit for request in bench.helm.requests] == [7.0]


async def test_an_archive_is_the_chart_in_it(bench: Bench) -> None:
    bench.write(CHART)
    with tarfile.open(bench.folder / "web.tgz", "w:gz") as archive:
        archive.add(bench.folder / "charts/web", "web")
    unpacked = await bench.through("prepare", app="{type: helm, chart: ./web.tgz}")
    assert (unpacked / "chart/Chart.yaml").read_text() == CHART["charts/web/Chart.yaml"]
    assert os.listdir(unpacked) == ["chart"]


@pytest.mark.parametrize("name", ["../evil", "/evil"])
async def test_an_archive_that_leads_out_of_its_folder_is_refused(bench: Bench, name: str) -> None:
    bench.write({"file": "x"})
    with tarfile.open(bench.folder / "web.tgz", "w:gz") as archive:
        info = archive.gettarinfo(bench.folder / "file")
        info.name = name
        with (bench.folder / "file").open("rb") as content:
            archive.addfile(info, content)
    with pytest.raises(UnusableChart, match=r"config\.yaml:3: chart './web\.tgz' holds"):
        await bench.through("prepare", app="{type: helm, chart: ./web.tgz}")


@pytest.mark.parametrize("files", [{"charts/web/values.yaml": ""}, {"charts/web": "no archive"}])
async def test_what_is_no_chart_is_refused_with_its_line(bench: Bench, files: dict[str, str]) -> None:
    bench.write(files)
    with pytest.raises(UnusableChart, match=r"config\.yaml:3"):
        await bench.through("prepare", app=HELM)


async def test_overrides_replace_and_add_files_and_removes_take_them_away(bench: Bench) -> None:
    bench.write(
        {
            **CHART,
            "overrides/web/values.yaml": "mine: 1\n",
            "overrides/web/templates/more/new.yaml": "new: 1\n",
            "elsewhere.yaml": "else: 1\n",
        }
    )
    app = (
        "{type: helm, chart: ./charts/web, overrides: ['templates/**/*.yaml', values.yaml, "
        "{templates/x.yaml: elsewhere.yaml}], removes: [crds, templates/config.yaml, nothing.yaml]}"
    )
    chart = await bench.through("prepare", "build", app=app) / "chart"
    assert (chart / "values.yaml").read_text() == "mine: 1\n"
    assert (chart / "templates/x.yaml").read_text() == "else: 1\n"
    assert (chart / "templates/more/new.yaml").exists()
    assert not (chart / "crds").exists()
    assert not (chart / "templates/config.yaml").exists()
    assert bench.log == ["nothing to remove: 'nothing.yaml' is not in the chart"]
    assert (bench.inputs["prepare"] / "chart/crds").exists()


@pytest.mark.parametrize("field", ["removes: [../x]", "removes: [/x]", "overrides: [{../x: file}]"])
async def test_a_path_that_leads_out_of_the_chart_is_refused(bench: Bench, field: str) -> None:
    bench.write({**CHART, "file": "x"})
    with pytest.raises(OutsideChart, match=r"config\.yaml:3"):
        await bench.through("prepare", "build", app=f"{{type: helm, chart: ./charts/web, {field}}}")


async def test_helms_refusal_names_the_chart_as_it_was_written(bench: Bench) -> None:
    bench.write({**CHART, "charts/web/templates/bad.yaml": "a: {{ nope }}\n"})
    with pytest.raises(ChartFailed, match=r"config\.yaml:3: chart './charts/web': .*bad\.yaml:1"):
        await bench.through("prepare", "build", "template", app=HELM)


async def test_labels_are_put_on_every_object_and_nothing_else_changes_without(bench: Bench) -> None:
    bench.write({"a.yaml": "# mine\nkind:   ConfigMap\napiVersion: v1\nmetadata: {name: a}\n"})
    plain = await bench.through("template", app="{type: yaml, manifests: [a.yaml]}")
    text = (plain / "manifests.yaml").read_text()
    assert text == f"---\n# Source: a.yaml\n{(bench.folder / 'a.yaml').read_text()}"
    app = "{type: yaml, manifests: [a.yaml], labels: {team: x}, annotations: {by: y}}"
    labelled = (await bench.through("template", app=app) / "manifests.yaml").read_text()
    assert "team: x" in labelled
    assert "by: 'y'" in labelled or "by: y" in labelled or 'by: "y"' in labelled


async def test_folders_and_globs_of_manifests_come_in_the_order_of_their_names(bench: Bench) -> None:
    for name in (
        "objects/b.yaml",
        "objects/a.yml",
        "objects/deep/c.yaml",
        "objects/readme.md",
        "more/x.yaml",
    ):
        bench.write({name: f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {Path(name).stem}}}\n"})
    app = "{type: yaml, manifests: [objects, 'more/*.yaml', objects/a.yml]}"
    text = (await bench.through("template", app=app) / "manifests.yaml").read_text()
    sources = [line.removeprefix("# Source: ") for line in text.splitlines() if line.startswith("# Source")]
    assert sources == ["objects/a.yml", "objects/b.yaml", "objects/deep/c.yaml", "more/x.yaml"]


async def test_a_manifest_that_is_none_is_refused_with_its_line(bench: Bench) -> None:
    bench.write({"a.yaml": "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\n\nkind: B\n"})
    told = r"config\.yaml:3: manifest \S*a\.yaml:6: an object has no `apiVersion`"
    with pytest.raises(BadFile, match=told):
        await bench.through("template", app="{type: yaml, manifests: [a.yaml]}")


async def test_a_missing_file_is_told_with_its_line_and_where_it_was_looked_for(bench: Bench) -> None:
    bench.write(CHART)
    app = "{type: helm, chart: ./charts/web, values: [none.yaml]}"
    with pytest.raises(FileMissing, match=r"config\.yaml:3: values file 'none\.yaml' is missing") as raised:
        await bench.through("prepare", "build", "template", app=app)
    assert str(bench.folder / "values/none.yaml") in (raised.value.hint or "")


# Commands


def exec_app(*commands: str, more: str = "") -> str:
    return f"{{type: exec, commands: {list(commands)!r}{more}}}"


async def test_commands_run_in_order_in_the_folder_of_the_config_and_return_nothing(bench: Bench) -> None:
    assert await bench.perform("deploy", exec_app("echo one", "pwd", "echo two >&2")) is None
    assert bench.log == ["one", str(bench.folder), "two"]


async def test_the_first_command_that_fails_ends_the_step(bench: Bench) -> None:
    with pytest.raises(
        CommandFailed, match=r"config\.yaml:3: 'exit 4' \(command 2 of 3\) failed: exit code 4"
    ):
        await bench.perform("deploy", exec_app("echo one", "exit 4", "echo two"))
    assert bench.log == ["one"]


async def test_the_time_limit_is_for_all_commands_together_and_names_the_one_it_stopped(bench: Bench) -> None:
    bench.time_limit = 0.5
    told = (
        r"config\.yaml:3: 'sleep 60' \(command 2 of 3\) was stopped: .* longer than its time limit of 0\.5 s"
    )
    with pytest.raises(CommandOverdue, match=told):
        await bench.perform("deploy", exec_app("sleep 0.1", "sleep 60", "echo two"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("[nowhere, --all]", "'nowhere --all' cannot be started: command 'nowhere' was not found"),
        ("[./plain]", "'./plain' cannot be started: command './plain' cannot be executed: permission denied"),
    ],
)
async def test_a_command_that_cannot_start_is_told_with_its_line(
    bench: Bench, command: str, told: str
) -> None:
    bench.write({"plain": "echo"})
    with pytest.raises(CommandNotStarted) as raised:
        await bench.perform("deploy", f"{{type: exec, commands: [{command}]}}")
    assert f"config.yaml:3: {told}" in str(raised.value)
    assert raised.value.hint


async def test_a_working_folder_that_is_gone_is_told_with_the_line_of_the_command(bench: Bench) -> None:
    app = exec_app('rmdir "$PWD" || rm -r "$PWD"', "echo two")
    own = Bench(bench.folder / "own")
    with pytest.raises(
        CommandNotStarted, match=r"config\.yaml:3: 'echo two' \(command 2 of 2\) .* working folder"
    ):
        await own.perform("deploy", app)


async def test_of_a_long_command_the_error_has_its_first_line(bench: Bench) -> None:
    with pytest.raises(CommandFailed) as raised:
        await bench.perform("deploy", '{type: exec, commands: ["true ' + "x" * 500 + '\\nexit 3"]}')
    assert str(raised.value).endswith(f"'true {'x' * 195}' … failed: exit code 3")


async def test_a_secret_is_hidden_in_what_a_command_prints(bench: Bench) -> None:
    app = exec_app("echo <$T$T>", more=", env: {T: {from_env: X}}")
    await bench.perform("deploy", app.replace("<$T$T>", "a${T}b"), {"X": "hush"})
    assert bench.log == ["a***b"]
    with pytest.raises(SecretMissing):
        await bench.perform("deploy", app)


async def test_forbidden_commands_do_not_run(bench: Bench) -> None:
    with pytest.raises(CommandsForbidden):
        await bench.perform("deploy", exec_app("echo ran"), {"SBKUBE_ALLOW_EXEC": "0"})
    assert bench.log == []


# Outputs


async def test_an_output_counts_only_while_it_is_as_it_was_made(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out")
    fresh = await outputs.fresh("web", "build")
    (fresh / "file").write_text("x")
    kept = await outputs.keep(fresh)
    assert await outputs.holds(kept)
    changes: list[Callable[[Path], Any]] = [
        lambda path: (path / "file").write_text("y"),
        lambda path: (path / "more").write_text("y"),
        lambda path: (path / "file").unlink(),
    ]
    for change in changes:
        change(outputs.path(kept))
        assert not await outputs.holds(kept)
        again = await outputs.fresh("web", "build")
        (again / "file").write_text("x")
        assert await outputs.keep(again) == kept
        assert await outputs.holds(kept)
    for nonsense in (None, {}, {"path": "x"}, {"path": "../..", "digest": "x"}):
        assert not await outputs.holds(nonsense)


async def test_what_nothing_uses_and_is_old_goes(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out")
    made: list[dict[str, Any]] = []
    for text in "ab":
        fresh = await outputs.fresh("web", "build")
        (fresh / "file").write_text(text)
        made.append(await outputs.keep(fresh))
        os.utime(outputs.path(made[-1]), (0, 0))
    leftover = await outputs.fresh("web", "build")
    os.utime(leftover, (0, 0))
    outputs.remove_unused([made[0]["path"]], older_than=1.0)
    assert await outputs.holds(made[0])
    assert not await outputs.holds(made[1])
    assert not leftover.exists()
