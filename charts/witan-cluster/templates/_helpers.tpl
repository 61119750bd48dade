{{/* The cluster's name is the release's: pods are NAME-0, NAME-1, the service is NAME-client. 45 characters leave room. */}}
{{- define "witan-cluster.fullname" -}}
{{- $name := .Release.Name }}
{{- with .Values.nameOverride }}
{{- $name = printf "%s-%s" $.Release.Name . }}
{{- end }}
{{- default $name .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "witan-cluster.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: etcd
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: etcd
app.kubernetes.io/part-of: witan
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "witan-cluster.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace }}
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

{{/* The pods and services that the operator makes for this cluster. */}}
{{- define "witan-cluster.selector" -}}
witan.dev/cluster: {{ include "witan-cluster.fullname" . }}
{{- end }}

{{- define "witan-cluster.rootSecret" -}}
{{- default (printf "%s-root" (include "witan-cluster.fullname" .)) .Values.auth.rbac.existingSecret }}
{{- end }}

{{/* A value as text: helm reads numbers of a file as floats, and would print large ones with an exponent. */}}
{{- define "witan-cluster.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Where the certificate of a port comes from: .secret names the secret if it is a given one. */}}
{{- define "witan-cluster.certificate" -}}
{{- with .root.Values.tls }}
{{- if .existingSecret }}
secretRef:
  name: {{ $.secret }}
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

{{- define "witan-cluster.spec" -}}
{{- $v := .Values }}
replicas: {{ $v.replicaCount }}
{{- if $v.paused }}
paused: true
{{- end }}
{{- with $v.version }}
version: {{ . | quote }}
{{- end }}
{{- with $v.image.name }}
image: {{ . }}
{{- end }}
imagePullPolicy: {{ $v.image.pullPolicy }}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.bootstrap.discoveryURL }}
bootstrap:
  discovery:
    url: {{ . | quote }}
{{- end }}
storage:
  {{- if $v.persistence.enabled }}
  size: {{ include "witan-cluster.text" $v.persistence.size }}
  {{- with $v.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  {{- else }}
  emptyDir: {}
  {{- end }}
persistentVolumeClaimRetentionPolicy:
  {{- toYaml $v.persistentVolumeClaimRetentionPolicy | nindent 2 }}
{{- if $v.tls.enabled }}
tls:
  peer:
    {{- include "witan-cluster.certificate" (dict "root" . "secret" (default $v.tls.existingSecret $v.tls.existingPeerSecret)) | nindent 4 }}
  client:
    {{- include "witan-cluster.certificate" (dict "root" . "secret" $v.tls.existingSecret) | nindent 4 }}
    {{- with $v.tls.existingOperatorSecret }}
    operatorSecretRef:
      name: {{ . }}
    {{- end }}
    clientCertAuth: {{ $v.tls.clientCertAuth }}
{{- end }}
{{- if $v.auth.rbac.create }}
auth:
  enabled: true
  rootCredentialsSecretRef:
    name: {{ include "witan-cluster.rootSecret" . }}
{{- end }}
options:
  autoCompactionMode: {{ $v.autoCompactionMode }}
  autoCompactionRetention: {{ include "witan-cluster.text" $v.autoCompactionRetention | quote }}
  {{- with $v.quotaBackendBytes }}
  quotaBackendBytes: {{ include "witan-cluster.text" . }}
  {{- end }}
  logLevel: {{ $v.logLevel }}
  {{- with $v.extraArgs }}
  extraArgs:
    {{- range $flag, $value := . }}
    {{ $flag }}: {{ include "witan-cluster.text" $value | quote }}
    {{- end }}
  {{- end }}
resources:
  {{- toYaml $v.resources | nindent 2 }}
podAntiAffinityPreset: {{ $v.podAntiAffinityPreset }}
{{- range $field := list "affinity" "topologySpreadConstraints" "nodeSelector" "tolerations" "priorityClassName" }}
{{- with get $v $field }}
{{ $field }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if or $v.podLabels $v.podAnnotations }}
additionalMetadata:
  labels:
    {{- toYaml $v.podLabels | nindent 4 }}
  annotations:
    {{- toYaml $v.podAnnotations | nindent 4 }}
{{- end }}
podDisruptionBudget:
  enabled: {{ $v.pdb.create }}
services:
  client:
    type: {{ $v.service.type }}
    {{- with $v.service.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
