{{- define "labels" }}
app: {{ .Chart.Name }}
from: sub
{{- end }}
{{- define "sub.name" }}name from sub, seen by {{ .Chart.Name }}{{ end }}
