{{/* Metadata of an object of this release: (list $ "name"). Names are fixed: one release per namespace. */}}
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

{{/* Labels of the operator's pods. */}}
{{- define "offsite.operator" -}}
{{- include "offsite.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Selector of the pods that connect to the API server. */}}
{{- define "offsite.clients" -}}
matchLabels:
  {{- include "offsite.selector" . | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [operator, stop]}
{{- end }}

{{/* Annotations of a pre-delete hook: the argument is its weight, which orders the hooks. */}}
{{- define "offsite.beforeDelete" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Selector of the pods of steps. Every pod made from the operator's template has this label. */}}
{{- define "offsite.steps" -}}
matchExpressions:
  - {key: offsite-tuning.dev/step, operator: Exists}
{{- end }}

{{/* The operator's settings file. */}}
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
  "logDays" .Values.logDays
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

{{/* Egress rule for a store: its peers, at the given ports, or at the endpoint's if there are none. */}}
{{- define "offsite.reach" -}}
{{- $port := include "offsite.port" .endpoint -}}
- to: {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .ports | default (list $port) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* Refuse one bucket for both stores: other parties could read private objects in it. */}}
{{- define "offsite.check" -}}
{{- if and (ne .Values.bounds.requireApproval "None") (not (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version)) -}}
{{- fail "bounds.requireApproval needs Kubernetes 1.30 or newer, which verifies who approves: upgrade the cluster, or set it to None" -}}
{{- end -}}
{{- $private := .Values.private -}}
{{- $bucket := regexFind "^s3://[^/]+" $private.uri -}}
{{- if eq $bucket .Values.exchange.uri -}}
{{- if eq (include "offsite.server" $private.endpoint) (include "offsite.server" .Values.exchange.endpoint) -}}
{{- fail (printf "private.uri and exchange.uri are one bucket, %s at %s: give each a bucket of its own" $bucket $private.endpoint) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Host and port of an endpoint, normalized. */}}
{{- define "offsite.server" -}}
{{- $url := urlParse . -}}
{{- $port := include "offsite.port" . -}}
{{- printf "%s:%s" ($url.host | lower | trimSuffix (printf ":%s" $port) | trimSuffix ":" | trimSuffix ".") $port -}}
{{- end }}

{{/* Port of an endpoint: explicit, or the default of its scheme. */}}
{{- define "offsite.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}
