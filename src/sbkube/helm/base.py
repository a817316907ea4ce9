"""What sbkube asks of Helm, whichever Helm it is, and what can go wrong; `releases.py` has what needs a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ..errors import SbkubeError

if TYPE_CHECKING:
    from .releases import Cluster, Releases

TIME_LIMIT = 120.0  # seconds for one call, unless said otherwise
LONGEST_TEXT = 4000  # characters of Helm's own words in an error; endless recursion gives 94 kB
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes of one rendered chart

INSTALL_HINT = "`pip install 'sbkube[helm]'`, or install helm (https://helm.sh/docs/intro/install)"

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What `.Capabilities` tells a chart; None: this Helm's own default. API versions come on top of the built-in ones."""

    kube_version: str | None = None
    api_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenderRequest:
    chart: Path
    release: str
    namespace: str
    values: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    include_crds: bool = True
    is_upgrade: bool = False
    time_limit: float | None = None
    """Seconds; None: that of this Helm."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """YAML documents as text, each after `---` and a `# Source:` comment, in Helm's order; tests are hooks."""

    crds: str
    manifests: str
    hooks: str
    notes: str

    @property
    def text(self) -> str:
        """Byte for byte what `helm template --include-crds` of Helm 4 prints."""
        return (self.crds + self.manifests).strip() + "\n" + self.hooks

    def trimmed(self) -> Rendered:
        """With the one space trimmed that Helm trims, behind the last manifest: then all parts are alike, too."""
        if self.manifests:
            return replace(self, manifests=self.manifests.rstrip() + "\n")
        return replace(self, crds=self.crds.rstrip() + "\n") if self.crds else self


@dataclass(frozen=True, slots=True)
class LintMessage:
    severity: Severity
    path: str
    text: str


@runtime_checkable
class Helm(Protocol):
    async def render(self, request: RenderRequest) -> Rendered: ...

    async def template(self, request: RenderRequest) -> str: ...

    async def lint(self, chart: Path, values: Mapping[str, Any]) -> list[LintMessage]: ...

    async def version(self) -> str:
        """Such as `v4.2.3`."""
        ...

    def releases(self, cluster: Cluster) -> Releases:
        """Of one cluster; to be closed on its own."""
        ...

    async def aclose(self) -> None: ...


class HelmError(SbkubeError):
    """Helm could not do what it was asked; `text` is in Helm's own words."""

    def __init__(self, text: str, *, chart: Path | None = None, hint: str | None = None) -> None:
        text = shortened(text.strip())
        super().__init__(text if chart is None else f"chart {str(chart)!r}: {text}", hint=hint)
        self.text = text
        self.chart = chart


class ChartError(HelmError):
    """The chart itself cannot be used: missing, damaged, incomplete, or not for this Kubernetes version."""


class ValuesError(HelmError):
    """The values cannot be read, or are not what the chart's schema asks for."""


class RenderError(HelmError):
    """A template failed, or what came out of it is not YAML."""


class HelmTimeout(HelmError, TimeoutError):
    """Helm took longer than its time limit and was killed."""

    def __init__(self, seconds: float, *, chart: Path | None = None) -> None:
        super().__init__(f"helm took longer than its time limit of {seconds:g} s", chart=chart)
        self.seconds = seconds


class HelmCrashed(HelmError):
    """The process in which Helm ran died."""

    transient = True


class HelmMissing(HelmError):
    """No Helm to be found where one was asked for."""


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The beginning says where it happened and the end what it was, so the middle is what goes."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"


def as_json(values: Mapping[str, Any], chart: Path | None = None) -> str:
    """Values as both Helms are given them; what JSON cannot say is refused here, in the same words for both."""
    try:
        return json.dumps(values, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValuesError(f"the values cannot be given to Helm: {error}", chart=chart) from error


def absolute(chart: Path) -> str:
    """As Helm is given it: a relative path may be taken for the name of a repository's chart."""
    return str(chart.absolute())
