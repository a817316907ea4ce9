{{- define "notes.more" }}More of {{ .Chart.Name }} in {{ .Template.BasePath }}{{ end }}
