{{- define "rabbitmq.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "rabbitmq.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rabbitmq.labels" -}}
{{ include "rabbitmq.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "rabbitmq.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "rabbitmq.definitions" -}}
{{- $queues := list }}
{{- range $name, $options := .Values.queues }}
{{- $arguments := dict "x-queue-type" (default "classic" $options.type) }}
{{- with $options.limit }}{{ $_ := set $arguments "x-max-length" (int .) }}{{ end }}
{{- $queues = append $queues (dict "name" $name "vhost" $.Values.vhost "durable" true "arguments" $arguments) }}
{{- end }}
{{- dict "vhosts" (list (dict "name" .Values.vhost)) "queues" $queues | toPrettyJson }}
{{- end }}
