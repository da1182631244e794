{{/* Metadata of an object of this release: (list $ "name"). Names are fixed: one release a namespace. */}}
{{- define "offsite.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "offsite.selector" $root | nindent 2 }}
  app.kubernetes.io/part-of: offsite
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "offsite.selector" -}}
app.kubernetes.io/name: offsite
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods of the operator. */}}
{{- define "offsite.operator" -}}
{{- include "offsite.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* The pods that speak to the API server, as a selector. */}}
{{- define "offsite.clients" -}}
matchLabels:
  {{- include "offsite.selector" . | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [operator, stop]}
{{- end }}

{{/* Annotations of what exists only while `helm uninstall` waits for it, by its place in the order. */}}
{{- define "offsite.beforeDelete" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The pods of the steps: every one has this label, whoever makes it of the operator's template. */}}
{{- define "offsite.steps" -}}
matchExpressions:
  - {key: offsite-tuning.dev/step, operator: Exists}
{{- end }}

{{/* The settings of the operator, as it reads them. */}}
{{- define "offsite.settings" -}}
{{- $known := dict
  "party" .Values.party
  "images" (pick .Values.images "operator" "runtime")
  "pullPolicy" .Values.images.pullPolicy
  "pullSecrets" .Values.images.pullSecrets
  "private" (include "offsite.store" .Values.private | fromJson)
  "exchange" (include "offsite.store" .Values.exchange | fromJson)
  "identity" .Values.identity
  "bounds" .Values.bounds
  "notices" .Values.notices
  "modelHub" .Values.egress.modelHub
  "checkpointSeconds" .Values.checkpointSeconds
  "resyncSeconds" .Values.resyncSeconds
  "gpuResource" .Values.gpuResource
  "scratchLimit" .Values.scratch.sizeLimit
  "serviceAccount" "offsite-step"
-}}
{{- toPrettyJson $known }}
{{- end }}

{{- define "offsite.store" -}}
{{- pick . "uri" "endpoint" "region" "style" "secret" "ca" "sessions" | toJson }}
{{- end }}

{{/* What lets pods reach a store: its peers, at the ports that are given or else the endpoint's. */}}
{{- define "offsite.reach" -}}
{{- $port := include "offsite.port" .endpoint -}}
- to: {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .ports | default (list $port) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* Both stores in one bucket would put what is to stay here where the others look. */}}
{{- define "offsite.check" -}}
{{- $private := .Values.private -}}
{{- $bucket := regexFind "^s3://[^/]+" $private.uri -}}
{{- if eq $bucket .Values.exchange.uri -}}
{{- if eq (include "offsite.server" $private.endpoint) (include "offsite.server" .Values.exchange.endpoint) -}}
{{- fail (printf "private.uri and exchange.uri are one bucket, %s at %s: give each a bucket of its own" $bucket $private.endpoint) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Host and port of an endpoint, the same however they are written. */}}
{{- define "offsite.server" -}}
{{- $url := urlParse . -}}
{{- $port := include "offsite.port" . -}}
{{- printf "%s:%s" ($url.host | lower | trimSuffix (printf ":%s" $port) | trimSuffix ":" | trimSuffix ".") $port -}}
{{- end }}

{{/* The port of an endpoint: its own, or its scheme's. */}}
{{- define "offsite.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}
