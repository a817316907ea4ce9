{{- define "common.configmap" }}
{{- $top := index . 0 }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $top.Release.Name }}-{{ index . 1 }}
{{- end }}
