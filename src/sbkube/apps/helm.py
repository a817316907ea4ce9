"""`type: helm`: a chart with values."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, field_validator, model_validator

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import Duration, NotEmpty, Spellings, one_or_many

Crds = Literal["install", "upgrade", "skip"]


class HelmApp(App):
    """`values` are files, or mappings written in place; `set_values` is a mapping or a list of `key=value`."""

    stages: ClassVar[tuple[Stage, ...]] = ("prepare", "build", "template", "deploy")
    older: ClassVar = {"force_adopt": "adopt", "chart_version": "version"}

    type: Literal["helm"]
    chart: NotEmpty
    version: str | None = None
    values: Annotated[tuple[str | dict[str, Any], ...], BeforeValidator(one_or_many)] = ()
    set_values: dict[str, Any] | tuple[str, ...] = ()
    release_name: str | None = None
    create_namespace: bool = False
    wait: bool = True
    timeout: Duration = 300.0
    atomic: bool = False
    force_conflicts: bool = False
    adopt: bool = False
    helm_label_injection: bool = True
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

    @property
    def is_remote(self) -> bool:
        """`repo/name`, `oci://…`, a URL; a bare name is a folder or an archive of the project."""
        if self.chart.startswith((".", "/", "~")):
            return False
        return "/" in self.chart or self.chart.startswith("git+")
