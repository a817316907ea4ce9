{{- define "labels" }}
app: {{ .Chart.Name }}
release: {{ .Release.Name }}
from: parent
{{- end }}
{{- define "named.only" -}}
only in the parent: {{ .Chart.Name }} {{ .Values.colour | default "colourless" }}
{{- end }}
