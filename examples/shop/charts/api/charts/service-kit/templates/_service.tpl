{{- define "service-kit.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "service-kit.name" . }}
  labels: {{- include "service-kit.labels" . | nindent 4 }}
spec:
  ports:
    - {name: http, port: 80, targetPort: http}
  selector: {{- include "service-kit.selector" . | nindent 4 }}
{{- end }}
