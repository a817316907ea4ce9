"""Charts for the contract of releases, simple enough for the fake Helm, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  v: "{{ .Values.v }}"
  u: "grüße ☃"
"""

FIXED = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: fixed
data:
  v: "{{ .Values.v }}"
"""

HOOK = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations:
    helm.sh/hook: pre-install,pre-rollback
data: {}
"""

HANGING_HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-hook
  annotations:
    helm.sh/hook: pre-install,pre-upgrade,pre-rollback
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {sbkube.dev/there-is: no-such-node}
      containers: [{name: main, image: registry.k8s.io/pause:3.10}]
"""

LATE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      nodeSelector: {"sbkube.dev/{{ .Values.node }}": "yes"}
      containers: [{name: main, image: registry.k8s.io/pause:3.10}]
"""

CHARTS: Mapping[str, Mapping[str, str]] = {
    "app": {"templates/a.yaml": CONFIG_MAP, "templates/NOTES.txt": "Thank you for {{ .Release.Name }}\n"},
    "fixed": {"templates/a.yaml": FIXED},
    "hooked": {"templates/a.yaml": CONFIG_MAP, "templates/hook.yaml": HOOK},
    "hanging": {"templates/a.yaml": CONFIG_MAP, "templates/hook.yaml": HANGING_HOOK},
    "late": {"templates/a.yaml": CONFIG_MAP, "templates/late.yaml": LATE},
    "broken": {"templates/a.yaml": CONFIG_MAP + '{{ fail "told to fail" }}\n'},
    "not-yaml": {"templates/a.yaml": "a: b: c\n"},
}


def write_chart(folder: Path, name: str, files: Mapping[str, str], **metadata: object) -> Path:
    described = {"apiVersion": "v2", "name": name, "version": "1.2.3", **metadata}
    for path, text in {"Chart.yaml": json.dumps(described), "values.yaml": "v: one\n", **files}.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_text(text)
    return folder / name


def write_charts(folder: Path) -> Path:
    for name, files in CHARTS.items():
        write_chart(folder, name, files)
    return folder
