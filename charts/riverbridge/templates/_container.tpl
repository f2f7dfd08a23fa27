{{/*
The container, for the Deployment of this chart and as a sidecar of a parent chart's pod:
  {{ include "riverbridge.container" .Subcharts.riverbridge }}
The context is this chart's own (.Values, .Chart, .Release).
*/}}
{{- define "riverbridge.container" -}}
{{- $reserved := dict
  "DATABASE_URL" "database.existingSecret"
  "RIVERBRIDGE_GRACE" "grace"
  "RIVERBRIDGE_PROBES__HOST" "probes.host"
  "RIVERBRIDGE_PROBES__PORT" "probes.port"
  "RIVERBRIDGE_HOOKS__HOST" "hooks.host"
  "RIVERBRIDGE_HOOKS__PORT" "hooks.port" -}}
{{- range $name, $value := $reserved -}}
{{- if or (hasKey $.Values.env $name) (hasKey $.Values.secretEnv $name) -}}
{{- fail (printf "riverbridge: env.%s cannot be set: use %s" $name $value) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.secretEnv -}}
{{- if hasKey $.Values.env $name -}}
{{- fail (printf "riverbridge: %s is in both env and secretEnv" $name) -}}
{{- end -}}
{{- end -}}
name: riverbridge
image: {{ include "riverbridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run]
{{- if and (eq .Values.mode "sidecar") .Values.sidecar.native }}
restartPolicy: Always
{{- end }}
env:
  - name: DATABASE_URL
    valueFrom:
      secretKeyRef:
        name: {{ required "riverbridge: database.existingSecret is not set: name the Secret that holds DATABASE_URL" .Values.database.existingSecret | quote }}
        key: {{ .Values.database.key | quote }}
  - name: RIVERBRIDGE_GRACE
    value: {{ printf "%ds" (int .Values.grace) | quote }}
  - name: RIVERBRIDGE_PROBES__HOST
    value: {{ .Values.probes.host | quote }}
  - name: RIVERBRIDGE_PROBES__PORT
    value: {{ .Values.probes.port | quote }}
  {{- if .Values.hooks.enabled }}
  - name: RIVERBRIDGE_HOOKS__HOST
    value: {{ .Values.hooks.host | quote }}
  - name: RIVERBRIDGE_HOOKS__PORT
    value: {{ .Values.hooks.port | quote }}
  {{- end }}
  {{- if not (hasKey .Values.env "RIVERBRIDGE_HTTP__CONSOLE") }}
  # Its port is often the application's own, with which a sidecar shares its loopback.
  - name: RIVERBRIDGE_HTTP__CONSOLE
    value: "false"
  {{- end }}
  {{- range $name, $value := .Values.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- range $name, $from := .Values.secretEnv }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef:
        name: {{ $from.name | quote }}
        key: {{ $from.key | quote }}
  {{- end }}
{{- with .Values.envFromSecrets }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . | quote }}
  {{- end }}
{{- end }}
ports:
  - name: rb-probes
    containerPort: {{ .Values.probes.port }}
  {{- if .Values.hooks.enabled }}
  - name: rb-hooks
    containerPort: {{ .Values.hooks.port }}
  {{- end }}
livenessProbe:
  httpGet:
    path: /livez
    port: rb-probes
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- if eq .Values.mode "standalone" }}
readinessProbe:
  httpGet:
    {{- if .Values.hooks.service.enabled }}
    # A broker that is down is no reason to turn webhooks away.
    path: /readyz/hooks
    port: rb-hooks
    {{- else }}
    path: /readyz
    port: rb-probes
    {{- end }}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "riverbridge.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
Seconds the pod needs to stop. Lanes end within the grace, the hold (at most 5 s) and 5 s more;
the other threads within 10 s. A parent chart's pod needs at least as many.
*/}}
{{- define "riverbridge.terminationGracePeriodSeconds" -}}
{{ add (int .Values.grace) 20 }}
{{- end }}
