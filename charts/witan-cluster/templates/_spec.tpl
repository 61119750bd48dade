{{/* Maps environment variables to numeric options. */}}
{{- define "witan-cluster.numbers" -}}
ETCD_QUOTA_BACKEND_BYTES: quotaBackendBytes
ETCD_HEARTBEAT_INTERVAL: heartbeatIntervalMs
ETCD_ELECTION_TIMEOUT: electionTimeoutMs
ETCD_MAX_REQUEST_BYTES: maxRequestBytes
ETCD_MAX_TXN_OPS: maxTxnOps
{{- end }}

{{/* The server's options. quotaBackendBytes and extraArgs override extraEnvVars. */}}
{{- define "witan-cluster.options" -}}
{{- $v := .Values }}
{{- $numbers := include "witan-cluster.numbers" . | fromYaml }}
{{- $options := dict "autoCompactionMode" ($v.autoCompactionMode | default "periodic") "logLevel" $v.logLevel }}
{{- $_ := set $options "autoCompactionRetention" (include "witan-cluster.text" $v.autoCompactionRetention | default "0") }}
{{- $arguments := dict }}
{{- range $v.extraEnvVars }}
{{- if hasKey $numbers .name }}
{{- $_ := set $options (get $numbers .name) (int64 .value) }}
{{- else }}
{{- $_ := set $arguments (trimPrefix "ETCD_" .name | lower | replace "_" "-") (include "witan-cluster.text" .value) }}
{{- end }}
{{- end }}
{{- with $v.quotaBackendBytes }}
{{- $_ := set $options "quotaBackendBytes" (kindIs "string" . | ternary . (int64 .)) }}
{{- end }}
{{- range $flag, $value := $v.extraArgs }}
{{- $_ := set $arguments $flag (include "witan-cluster.text" $value) }}
{{- end }}
{{- if $arguments }}
{{- $_ := set $options "extraArgs" $arguments }}
{{- end }}
{{- toYaml $options }}
{{- end }}

{{/* TLS of both ports. If clusterDomain is not cluster.local, the certificates also contain the Services' names in that domain. */}}
{{- define "witan-cluster.tls" -}}
{{- $v := .Values }}
{{- $ports := include "witan-cluster.ports" . | fromYaml }}
{{- if $ports.peer.tls }}
peer:
  {{- include "witan-cluster.certificate" (dict "root" . "secret" $ports.peer.secret) | nindent 2 }}
{{- end }}
{{- if $ports.client.tls }}
client:
  {{- include "witan-cluster.certificate" (dict "root" . "secret" $ports.client.secret) | nindent 2 }}
  {{- with $v.tls.existingOperatorSecret }}
  operatorSecretRef:
    name: {{ . | toYaml }}
  {{- end }}
  clientCertAuth: {{ $v.tls.enabled | ternary $v.tls.clientCertAuth $v.auth.client.enableAuthentication }}
  {{- if not (or (eq $v.clusterDomain "cluster.local") $ports.client.secret) }}
  {{- $peer := include "witan-cluster.peerService" . }}
  additionalDNSNames:
    {{- range list (include "witan-cluster.clientService" .) $peer (printf "*.%s" $peer) }}
    - {{ printf "%s.%s.svc.%s" . $.Release.Namespace $v.clusterDomain | quote }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The disks. global.storageClass overrides the chart's class, and global.defaultStorageClass is the fallback. "-" is the empty class. */}}
{{- define "witan-cluster.storage" -}}
{{- $v := .Values }}
{{- $global := $v.global | default dict }}
{{- if $v.persistence.enabled }}
size: {{ include "witan-cluster.text" $v.persistence.size }}
{{- with coalesce $global.storageClass $v.persistence.storageClass $global.defaultStorageClass }}
storageClassName: {{ eq . "-" | ternary "" . | quote }}
{{- end }}
{{- with $v.persistence.accessModes }}
accessModes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end }}

{{- define "witan-cluster.services" -}}
{{- $v := .Values.service }}
{{- $aliased := include "witan-cluster.aliased" . }}
client:
  {{- if or $v.name $aliased }}
  name: {{ include "witan-cluster.clientService" . | toYaml }}
  {{- end }}
  type: {{ $v.type }}
  {{- with $v.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if or $v.headless.name $aliased }}
peer:
  name: {{ include "witan-cluster.peerService" . | toYaml }}
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
image: {{ . | toYaml }}
{{- end }}
imagePullPolicy: {{ $v.image.pullPolicy }}
{{- with include "witan-cluster.pullSecrets" . }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with $v.bootstrap.discoveryURL }}
bootstrap:
  discovery:
    url: {{ . | quote }}
{{- end }}
storage:
  {{- include "witan-cluster.storage" . | nindent 2 }}
persistentVolumeClaimRetentionPolicy:
  {{- toYaml $v.persistentVolumeClaimRetentionPolicy | nindent 2 }}
{{- with include "witan-cluster.tls" . | trim }}
tls:
  {{- . | nindent 2 }}
{{- end }}
{{- if or $v.auth.rbac.create $v.auth.rbac.enabled }}
auth:
  enabled: true
  rootCredentialsSecretRef:
    name: {{ include "witan-cluster.rootSecret" . | toYaml }}
{{- end }}
options:
  {{- include "witan-cluster.options" . | nindent 2 }}
resources:
  {{- toYaml $v.resources | nindent 2 }}
podAntiAffinityPreset: {{ $v.podAntiAffinityPreset | default "none" }}
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
  {{- range $field := list "minAvailable" "maxUnavailable" }}
  {{- /* 0 is a number to pass on, although a template counts it as empty. */}}
  {{- with include "witan-cluster.text" (get $v.pdb $field) }}
  {{ $field }}: {{ . }}
  {{- end }}
  {{- end }}
services:
  {{- include "witan-cluster.services" . | nindent 2 }}
{{- end }}
