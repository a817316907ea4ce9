"""Charts and how they are rendered: each case has its page in `expected/`, and its notes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbkube.helm.base import Capabilities, RenderRequest

KUBE = Capabilities("v1.29.4")  # without it each Helm has its own default


@dataclass(frozen=True)
class Case:
    name: str
    chart: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Capabilities = KUBE
    is_upgrade: bool = False
    since: int = 3

    def request(self, charts: Path, **changes: Any) -> RenderRequest:
        given = {
            "values": self.values,
            "capabilities": self.capabilities,
            "is_upgrade": self.is_upgrade,
        } | changes
        return RenderRequest(charts / (self.chart or self.name), "demo", "shop", **given)


CASES = [
    Case("capabilities"),
    Case("capabilities-old", "capabilities", capabilities=Capabilities("1.24")),
    # Helm 3 forgets what follows the numbers
    Case("capabilities-cloud", "capabilities", capabilities=Capabilities("v1.33.4-gke.1245000"), since=4),
    Case(
        "capabilities-more",
        "capabilities",
        capabilities=Capabilities(
            "v1.30.0", ("monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor")
        ),
    ),
    Case("conditions"),
    Case(
        "conditions-turned",
        "conditions",
        {"hot": {"enabled": False}, "cold": {"enabled": True}, "tags": {"extra": True}},
    ),
    Case("crds"),
    Case("empty"),
    Case("empty-enabled", "empty", {"enabled": True}),
    Case("files"),
    Case("globals"),
    Case("globals-null", "globals", {"sub": {"gone": None, "image": {"tag": None}}}),
    Case(
        "globals-set",
        "globals",
        {"global": {"registry": "other"}, "sub": {"image": {"tag": "2"}, "more": [1, None]}},
    ),
    Case("hooks"),
    Case("hooks-fewer", "hooks", {"cleanup": False}),
    Case("import-values"),
    Case("kinds"),
    Case("kube-version"),
    Case("lookup"),
    Case("multi", values={"four": True}),
    Case("named"),
    Case("nindent", values={"nodeSelector": {"a": "b"}, "resources": {"requests": None}}),
    Case("notes"),
    Case("notes-upgrade", "notes", {"port": 443}, is_upgrade=True),
    Case("numbers", values={"set": 2**53 + 1, "half": 0.5, "list": [1, 2.0, -3]}),
    Case("packaged"),
    Case("packaged-as-archive", "packaged-0.1.0.tgz"),
    Case("ranges"),
    Case("recursion"),
    Case("required", values={"name": 'a "quoted" name'}),
    Case("schema", values={"replicas": 3, "mode": "safe"}),
    Case("simple"),
    Case("strings", values={"unicode": "日本\n \u2028 é", "on": "off"}),
    Case("testpods"),
    Case("tpl", values={"team": "shop", "host": "{{ .Release.Namespace }}.local"}),
    Case("upgrade"),
    Case("upgrade-again", "upgrade", is_upgrade=True),
    Case("uses-library"),
    Case("windows"),
]

NOTES = {
    "notes": '\nOpen http://demo:8080/?a=1&b=<2>\nMore of notes in notes/templates\nWelcome, "friend" — ümlaut\n',
    "notes-upgrade": '\nOpen http://demo:443/?a=1&b=<2>\nMore of notes in notes/templates\nWelcome back, "friend" — ümlaut\n',
    "packaged": "Packaged as demo\n",
    "packaged-as-archive": "Packaged as demo\n",
    "simple": "Thank you for demo\n",
    "windows": "Lines\r\nend\r\n",
}
