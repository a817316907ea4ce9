"""`type: helm`: a chart with values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal, Self

from anyio.to_thread import run_sync
from pydantic import BeforeValidator, field_validator, model_validator

from sbkube.apps import remote_charts
from sbkube.apps.base import Stage
from sbkube.apps.capabilities import are_current, write_capabilities
from sbkube.apps.charts import (
    NothingRemoved,
    UnusableChart,
    change_chart,
    chart_name,
    check_metadata,
    override,
    remove_some,
    take_chart,
)
from sbkube.apps.checks import Refusal, check_namespace, check_release_name, failures
from sbkube.apps.dependencies import Origin
from sbkube.apps.dependency_charts import take_dependencies
from sbkube.apps.dependency_inputs import check_dependencies, dependency_reading, unpinned_dependencies
from sbkube.apps.fields import NotEmpty, Spellings, one_or_many
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.files import FileInput, matches
from sbkube.apps.manifests import with_metadata
from sbkube.apps.released import ReleasedApp
from sbkube.apps.rendered import deploy_rendered, write_rendered, write_values
from sbkube.apps.sought import file_input, first_input
from sbkube.apps.work import Asking, Json, Place, Reading, Work
from sbkube.documents import parse, read_text
from sbkube.errors import Position, SbkubeError, as_text
from sbkube.fetch.addresses import redacted
from sbkube.fetch.lockfile import Pin
from sbkube.helm.base import Capabilities, HelmCrashed, HelmError, HelmMissing, RenderRequest, ValuesError
from sbkube.helm.values import final_values
from sbkube.targets.base import Crds, Manifests, Target

KUBE_VERSION = "v1.36.0"
"""Rendered for where neither the app nor a cluster says: each Helm has a default of its own, by how it was built."""


class HelmApp(ReleasedApp):
    """`values` are files, or mappings written in place; `set_values` is a mapping or a list of `key=value`."""

    stages: ClassVar[tuple[Stage, ...]] = ("prepare", "build", "template", "deploy")
    older: ClassVar = {"force_adopt": "adopt", "chart_version": "version"}

    type: Literal["helm"]
    chart: NotEmpty
    version: str | None = None
    values: Annotated[tuple[str | dict[str, Any], ...], BeforeValidator(one_or_many)] = ()
    set_values: dict[str, Any] | tuple[str, ...] = ()
    release_name: str | None = None
    create_namespace: bool = True
    """Unless said otherwise, as it always was for charts, whatever their files said."""
    helm_label_injection: bool = True
    """Whether its objects get labels and annotations; off, the chart is deployed as it is."""
    overrides: Annotated[tuple[str | dict[str, str], ...], BeforeValidator(one_or_many)] = ()
    removes: tuple[NotEmpty, ...] = ()
    crds: Crds = "install"
    skip_crds: bool = False
    kube_version: str | None = None
    api_versions: tuple[str, ...] = ()

    @classmethod
    def modernised(cls, data: dict[str, Any], spellings: Spellings) -> dict[str, Any]:
        data = super().modernised(data, spellings)
        repo, chart = data.get("repo"), data.get("chart")
        if isinstance(repo, str) and isinstance(chart, str):
            del data["repo"]
            data["chart"] = f"{repo.rstrip('/')}/{chart}"
            spellings.hint(("repo",), f"`repo` and `chart` are one now: `chart: {data['chart']}`")
        if isinstance(data.get("values"), dict):
            spellings.hint(("values",), "`values` is a list now: put a `-` before the mapping, or its file")
        return data

    @field_validator("set_values")
    @classmethod
    def _key_and_value(cls, value: dict[str, Any] | tuple[str, ...]) -> dict[str, Any] | tuple[str, ...]:
        for item in value if isinstance(value, tuple) else ():
            if not item.partition("=")[0] or "=" not in item:
                raise ValueError(f"must hold items of the form `key=value`, not {item!r}")
        return value

    @model_validator(mode="after")
    def _crds_agree(self) -> Self:
        if self.skip_crds and self.crds == "upgrade":
            raise ValueError("has `skip_crds: true` and `crds: upgrade`, which contradict each other")
        return self

    @property
    def crd_policy(self) -> Crds:
        return "skip" if self.skip_crds else self.crds

    async def resolve(self, asking: Asking) -> Pin:
        return await remote_charts.resolve_chart(self.chart, self.version, asking)

    @property
    def is_remote(self) -> bool:
        """`repo/name`, `oci://…`, a URL; a bare name is a folder or an archive of the project."""
        return remote_charts.is_remote(self.chart)

    # What its stages read and do

    def reads(self, stage: Stage, place: Place) -> Reading:
        match stage:
            case "prepare" if self.is_remote:
                return remote_charts.chart_reading(self.chart, self.version, place)
            case "prepare":
                return self._local_reading(place)
            case "build":
                overrides = self._overrides(place)
                settings = {
                    "overrides": [as_text(path) for path, _ in overrides],
                    "removes": list(self.removes),
                }
                return Reading(settings, tuple(file for _, file in overrides))
            case "template":
                return Reading(self._template_settings(place), tuple(self._values_files(place)))
            case "deploy":
                return Reading({"release": self.release(place), "namespace": place.namespace})

    async def perform(self, stage: Stage, work: Work) -> Json:
        match stage:
            case "prepare" if self.is_remote:
                await remote_charts.take_remote_chart(self.chart, self.version, work)
            case "prepare":
                chart = self._chart(work.place).present()
                await run_sync(take_chart, chart, work.out / "chart", self.chart, work.place.where("chart"))
                origin = self._origin(work.place, chart, work.out / "chart")
                await take_dependencies(work.out / "chart", origin, work)
            case "build":
                await self._build(work)
            case "template":
                await self._template(work)
            case "deploy":
                return await self._deploy(work)
        return None

    def is_made_for(self, stage: Stage, output: Path, target: Target) -> bool:
        return stage != "template" or self.kube_version is not None or are_current(output, target)

    def unpinned(self, folder: Path) -> Iterator[tuple[FieldPath, str]]:
        if self.is_remote:
            yield from remote_charts.unpinned_chart(self.chart, self.version)
        else:
            yield from ((("chart",), told) for told in unpinned_dependencies(folder / self.chart))

    def check(self, place: Place) -> Iterator[Refusal]:
        yield from (("template", error) for error in self._check_template(place))
        if self.is_remote:
            wrong = remote_charts.check_chart(self.chart, self.version, place)
            yield from (("prepare", error) for error in wrong)
            return
        source = self._chart(place).path
        if source is not None:
            if source.is_dir():
                wrong = check_dependencies(self._origin(place, source, source), place)
                yield from (("prepare", error) for error in wrong)
            with TemporaryDirectory(prefix="sbkube-") as folder:
                yield from self._check_chart(place, source, Path(folder, "chart"))

    def _check_template(self, place: Place) -> Iterator[SbkubeError]:
        yield from failures(self._name_checks(place))
        files = list(self._values_files(place))
        wrong = list(failures(partial(_values_in, file) for file in files if file.path is not None))
        yield from wrong
        if not wrong and all(file.path is not None for file in files):
            yield from failures([partial(self._final_values, place)])

    def _check_chart(self, place: Place, source: Path, copy: Path) -> Iterator[Refusal]:
        """By doing with a copy what the stages do."""
        refused = list(failures([partial(take_chart, source, copy, self.chart, place.where("chart"))]))
        yield from (("prepare", error) for error in refused)
        if refused:
            return
        steps: list[Callable[[], object]] = [
            partial(override, copy, path, file.path, file.where)
            for path, file in self._overrides(place)
            if file.path is not None
        ]
        for index, pattern in enumerate(self.removes):
            steps.append(partial(remove_some, copy, pattern, place.where("removes", index)))
        for error in failures([*steps, partial(self._check_metadata, place, copy)]):
            yield None if isinstance(error, NothingRemoved) else "build", error

    def _name_checks(self, place: Place) -> Iterator[Callable[[], object]]:
        is_app, where = self.release_name is None, place.where("release_name")
        yield partial(check_release_name, self.release(place), where, is_app=is_app)
        yield partial(check_namespace, place.namespace, place.where("namespace"))

    def release(self, place: Place) -> str:
        return self.release_name or place.name

    def _chart(self, place: Place) -> FileInput:
        if self.is_remote:
            return FileInput("chart", redacted(self.chart), None, place.where("chart"))
        return file_input(place, "chart", self.chart, place.where("chart"), "a file", "a folder")

    def _origin(self, place: Place, chart: Path, taken: Path) -> Origin:
        where = place.where("chart")
        if not chart.is_dir():
            return Origin(taken, taken, self.chart, where, is_packed=True)
        sought = place.seek(self.chart)
        return Origin(chart, None if sought is None else sought.root, self.chart, where)

    def _local_reading(self, place: Place) -> Reading:
        """With the charts that `file://` leads to, and whatever the settings say of other dependencies."""
        chart = self._chart(place)
        if chart.path is None or not chart.path.is_dir() or place.seek(self.chart) is not None:
            return Reading(files=(chart,))
        origin = self._origin(place, chart.path, chart.path)
        return dependency_reading(chart, origin, place)

    def _overrides(self, place: Place) -> list[tuple[str, FileInput]]:
        """Each path in the chart, and the file that takes it."""
        home = place.folder / "overrides" / place.name
        found: list[tuple[str, FileInput]] = []
        for index, item in enumerate(self.overrides):
            where = place.where("overrides", index)
            if isinstance(item, dict):
                found += [
                    (path, first_input(place, "override", file, where, (home / file, place.folder / file)))
                    for path, file in item.items()
                ]
            elif any(sign in item for sign in "*?["):
                files = matches(home, item, where)
                found += [
                    (m.relative_to(home).as_posix(), _override(_named(m, place), (m,), where)) for m in files
                ]
                if not files:
                    found.append((item, _override(f"overrides/{place.name}/{item}", (home / item,), where)))
            else:
                found.append((item, _override(f"overrides/{place.name}/{item}", (home / item,), where)))
        return found

    async def _build(self, work: Work) -> None:
        overrides = [(path, file.present(), file.where) for path, file in self._overrides(work.place)]
        removes = [(path, work.place.where("removes", n)) for n, path in enumerate(self.removes)]
        chart = work.inputs["prepare"] / "chart"
        unmatched = await run_sync(change_chart, chart, work.out / "chart", overrides, removes)
        for path in unmatched:
            await work.log(f"nothing to remove: {path!r} is not in the chart")
        await run_sync(self._check_metadata, work.place, work.out / "chart")

    def _check_metadata(self, place: Place, chart: Path) -> None:
        """Of a chart as it will be rendered, told with the file in which its `Chart.yaml` was written."""
        source, made = self._chart(place), chart / "Chart.yaml"
        if not made.is_file():
            raise UnusableChart(
                self.chart, "has no `Chart.yaml` any more, which `removes` took", source.where
            )
        laid = [file for path, file in self._overrides(place) if PurePosixPath(path).parts == ("Chart.yaml",)]
        file = laid[-1] if laid else source
        # Of a chart from elsewhere only the copy is here.
        written = file.present() if laid else made if file.path is None else file.path / "Chart.yaml"
        with file.named():
            check_metadata(read_text(written if written.is_file() else made), written)

    def _values_files(self, place: Place) -> Iterator[FileInput]:
        for index, item in enumerate((*place.shared_values, *self.values)):
            if isinstance(item, str):
                shared = index < len(place.shared_values)
                own = ("values", index - len(place.shared_values))
                where = place.where_shared_values if shared else place.where(*own)
                yield first_input(place, "values file", item, where, place.values_candidates(item))

    def _template_settings(self, place: Place) -> dict[str, Json]:
        return {
            "release": self.release(place),
            "namespace": place.namespace,
            "values": [*place.shared_values, *self.values],
            "set_values": self.set_values if isinstance(self.set_values, dict) else list(self.set_values),
            "kube_version": self.kube_version or KUBE_VERSION,
            "api_versions": list(self.api_versions),
            "crds": self.crd_policy,
            "labels": dict(place.object_labels),
            "annotations": dict(place.object_annotations),
        }

    async def _deploy(self, work: Work) -> Json:
        """Labels are put on rendered objects, so an app that has some is deployed as it was rendered."""
        place, options = work.place, self.deploy_options(self.crd_policy)
        chart = work.inputs["build"] / "chart" if "build" in work.inputs else None
        if chart is not None and (place.object_labels or place.object_annotations):
            name = await run_sync(chart_name, chart)
            return await deploy_rendered(work, self.release(place), options, chart_name=name)
        return await deploy_rendered(work, self.release(place), options, chart)

    async def _template(self, work: Work) -> None:
        place = work.place
        for check in self._name_checks(place):
            check()
        values = await run_sync(self._final_values, place)
        known = None if self.kube_version else work.target.capabilities
        request = RenderRequest(
            chart=work.inputs["build"] / "chart",
            release=self.release(place),
            namespace=place.namespace or "default",
            values=values,
            capabilities=self._capabilities(known),
            include_crds=self.crd_policy != "skip",
            time_limit=work.time_limit,
        )
        helm = await work.helm()
        try:
            rendered = await helm.render(request)
        except (HelmCrashed, HelmMissing):
            raise
        except HelmError as error:
            raise ChartFailed(self.chart, error, place.where("chart")) from error
        parts = [rendered.crds, rendered.manifests, rendered.hooks]
        if place.object_labels or place.object_annotations:
            put = partial(with_metadata, labels=place.object_labels, annotations=place.object_annotations)
            parts = [await run_sync(put, part) for part in parts]
        await write_rendered(work.out, Manifests(*parts), rendered.notes)
        await write_values(work.out, values)
        if known is not None:
            await run_sync(write_capabilities, work.out, known, request.chart)

    def _capabilities(self, known: Capabilities | None) -> Capabilities:
        """Of the server that it goes to, or of the version that the app names."""
        if known is None:
            return Capabilities(self.kube_version or KUBE_VERSION, self.api_versions)
        return Capabilities(known.kube_version, (*known.api_versions, *self.api_versions))

    def _final_values(self, place: Place) -> dict[str, Any]:
        files = {file.name: file for file in self._values_files(place)}
        layers = [
            _values_in(files[item]) if isinstance(item, str) else item
            for item in (*place.shared_values, *self.values)
        ]
        try:
            return final_values(layers, self.set_values)
        except ValuesError as error:
            raise ChartFailed(self.chart, error, place.where("set_values")) from error


def _values_in(file: FileInput) -> dict[str, Any]:
    text = file.text()
    with file.named():
        return parse(text, file=file.present()).mapping()


class ChartFailed(SbkubeError):
    """Helm refused a chart; told with its name in the config instead of where its copy lies."""

    def __init__(self, chart: str, error: HelmError, where: Position) -> None:
        super().__init__(f"chart {chart!r}: {error.text}", hint=error.hint, where=where)
        self.text = error.text


def _override(name: str, candidates: tuple[Path, ...], where: Position) -> FileInput:
    found = next((path for path in candidates if path.is_file()), None)
    return FileInput("override", name, found, where, candidates)


def _named(path: Path, place: Place) -> str:
    return as_text(path.relative_to(place.folder).as_posix())
