{{/* Name of all objects: the release's name, followed by the chart's unless it contains it. */}}
{{- define "exchange.name" -}}
{{- $both := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- ternary .Release.Name $both (contains .Chart.Name .Release.Name) | trunc 47 | trimSuffix "-" }}
{{- end }}

{{/* Metadata of an object: (list $ "suffix of its name"). */}}
{{- define "exchange.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "exchange.name" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "exchange.selector" $root | nindent 2 }}
  app.kubernetes.io/part-of: offsite
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "exchange.selector" -}}
app.kubernetes.io/name: exchange
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "exchange.endpoint" -}}
{{- .Values.external.endpoint | default (printf "https://%s.%s.svc.cluster.local:9000" (include "exchange.name" .) .Release.Namespace) }}
{{- end }}

{{- define "exchange.tls" -}}
{{- .Values.tls.secret | default (printf "%s-tls" (include "exchange.name" .)) }}
{{- end }}

{{- define "exchange.root" -}}
{{- .Values.root.secret | default (printf "%s-root" (include "exchange.name" .)) }}
{{- end }}

{{/* Names of the server for its certificate: {"hosts": […], "addresses": […]}. */}}
{{- define "exchange.names" -}}
{{- $name := include "exchange.name" . -}}
{{- $inside := printf "%s.%s" $name .Release.Namespace -}}
{{- $hosts := list $name $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside) "localhost" -}}
{{- $addresses := list "127.0.0.1" -}}
{{- range .Values.tls.names }}
{{- if regexMatch "^[0-9.]+$|:" . }}
{{- $addresses = append $addresses . }}
{{- else }}
{{- $hosts = append $hosts . }}
{{- end }}
{{- end }}
{{- dict "hosts" (uniq $hosts) "addresses" (uniq $addresses) | toJson }}
{{- end }}
