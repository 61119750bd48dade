{{/* Returns "true" if a parent chart uses this chart under an alias instead of an etcd chart. */}}
{{- define "witan-cluster.aliased" -}}
{{- if ne .Chart.Name "witan-cluster" }}true{{ end }}
{{- end }}

{{/* The name of the cluster, which is the release's name. Under an alias, it is RELEASE-ALIAS, or RELEASE if that contains the
alias, as in parent charts. 45 characters leave room for suffixes. */}}
{{- define "witan-cluster.fullname" -}}
{{- $name := .Release.Name }}
{{- if include "witan-cluster.aliased" . }}
{{- $alias := default .Chart.Name .Values.nameOverride }}
{{- $name = ternary $name (printf "%s-%s" $name $alias) (contains $alias $name) }}
{{- if and (gt (len $name) 45) (not .Values.fullnameOverride) }}
{{- fail (printf "The name of the cluster would be %s, which has more than 45 characters: choose a shorter name for the release, or set fullnameOverride." $name) }}
{{- end }}
{{- else if .Values.nameOverride }}
{{- $name = printf "%s-%s" $name .Values.nameOverride }}
{{- end }}
{{- default $name .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{/* The name of the client Service. */}}
{{- define "witan-cluster.clientService" -}}
{{- $name := include "witan-cluster.fullname" . }}
{{- $own := ternary $name (printf "%s-client" $name) (eq (include "witan-cluster.aliased" .) "true") }}
{{- default $own .Values.service.name }}
{{- end }}

{{/* The name of the headless Service. */}}
{{- define "witan-cluster.peerService" -}}
{{- $suffix := ternary "headless" "peer" (eq (include "witan-cluster.aliased" .) "true") }}
{{- default (printf "%s-%s" (include "witan-cluster.fullname" .) $suffix) .Values.service.headless.name }}
{{- end }}

{{- define "witan-cluster.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: etcd
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: etcd
app.kubernetes.io/part-of: witan
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* toYaml quotes names such as 7 and true, which YAML would not read as text. */}}
{{- define "witan-cluster.metadata" -}}
name: {{ .name | toYaml }}
namespace: {{ .namespace | toYaml }}
labels:
  {{- include "witan-cluster.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The selector of the pods and Services that the operator creates for this cluster. */}}
{{- define "witan-cluster.selector" -}}
witan.dev/cluster: {{ include "witan-cluster.fullname" . | toYaml }}
{{- end }}

{{- define "witan-cluster.rootSecret" -}}
{{- $name := include "witan-cluster.fullname" . }}
{{- $own := ternary $name (printf "%s-root" $name) (eq (include "witan-cluster.aliased" .) "true") }}
{{- default $own .Values.auth.rbac.existingSecret }}
{{- end }}

{{/* A value as text. Helm reads numbers from a file as floats, and would print large numbers with an exponent. */}}
{{- define "witan-cluster.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* The distinct names of pull secrets, which values contain as strings or as objects. */}}
{{- define "witan-cluster.pullSecrets" -}}
{{- $names := list }}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) .Values.image.pullSecrets }}
{{- if kindIs "string" . }}
{{- $names = append $names . }}
{{- else }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- range uniq $names }}
- name: {{ . | toYaml }}
{{- end }}
{{- end }}

{{/* For each port: whether TLS is enabled (tls), and the user's Secret or "" (secret). */}}
{{- define "witan-cluster.ports" -}}
{{- $tls := .Values.tls }}
{{- range $port := list "client" "peer" }}
{{- $given := get $.Values.auth $port }}
{{- $secret := ternary "" $given.existingSecret (eq (toString $given.useAutoTLS) "true") }}
{{ $port }}:
  tls: {{ or $tls.enabled (eq (toString $given.secureTransport) "true") }}
  secret: {{ default $secret (ternary $tls.existingSecret (default $tls.existingSecret $tls.existingPeerSecret) (eq $port "client")) | quote }}
{{- end }}
{{- end }}

{{/* The source of a port's certificate: the user's Secret (.secret), else the cert-manager issuer, else the operator. */}}
{{- define "witan-cluster.certificate" -}}
{{- with .root.Values.tls }}
{{- if $.secret }}
secretRef:
  name: {{ $.secret | toYaml }}
{{- else if .certManager.issuerRef.name }}
certManager:
  issuerRef:
    {{- toYaml .certManager.issuerRef | nindent 4 }}
  {{- with .certManager.duration }}
  duration: {{ . }}
  {{- end }}
  {{- with .certManager.renewBefore }}
  renewBefore: {{ . }}
  {{- end }}
{{- else }}
managed: {}
{{- end }}
{{- end }}
{{- end }}
