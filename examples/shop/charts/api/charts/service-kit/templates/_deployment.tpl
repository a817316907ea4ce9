{{/* One Deployment with the chart's image, environment and probes. */}}
{{- define "service-kit.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "service-kit.name" . }}
  labels: {{- include "service-kit.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "service-kit.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "service-kit.selector" . | nindent 8 }}
    spec:
      containers:
        - name: {{ .Chart.Name }}
          image: {{ include "service-kit.image" . }}
          env: {{- include "service-kit.env" . | nindent 12 }}
          ports:
            - {name: http, containerPort: {{ .Values.port }}}
          readinessProbe:
            httpGet: {path: {{ .Values.probes.ready }}, port: http}
          livenessProbe:
            httpGet: {path: {{ .Values.probes.live }}, port: http}
            initialDelaySeconds: 10
          resources: {{- toYaml .Values.resources | nindent 12 }}
{{- end }}

{{- define "service-kit.env" -}}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ tpl (toString $value) $ | quote }}
{{- end }}
{{- range $name, $secret := .Values.secretEnv }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $secret.name }}, key: {{ $secret.key | default "password" }}}
{{- end }}
{{- end }}
