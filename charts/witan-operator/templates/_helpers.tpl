{{- define "witan-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. 52 characters leave room for the suffixes of the Deployment, the ReplicaSet and "-metrics". */}}
{{- define "witan-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $name .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "witan-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "witan-operator.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{- define "witan-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "witan-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: witan
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Renders the metadata of an object with the common labels and annotations: name, optional namespace, labels, annotations.
toYaml quotes names such as 7 and true, which YAML would not read as text. */}}
{{- define "witan-operator.metadata" -}}
name: {{ .name | toYaml }}
{{- with .namespace }}
namespace: {{ . | toYaml }}
{{- end }}
labels:
  {{- include "witan-operator.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "witan-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "witan-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "witan-operator.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails with a message if a value needs a kind that the Kubernetes cluster does not have. */}}
{{- define "witan-operator.needKind" -}}
{{- if not (or (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") (.root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind))) }}
{{- fail (printf "%s=true needs the kind %s (monitoring.coreos.com/v1), which the Kubernetes cluster does not have. Install the Prometheus operator first, or set %s=false. With `helm template`, add --api-versions monitoring.coreos.com/v1." .value .kind .value) }}
{{- end }}
{{- end }}

{{/* The operator's permissions in the namespaces that it watches. */}}
{{- define "witan-operator.rules" -}}
- apiGroups: [witan.dev]
  resources: [etcdclusters, etcdbackupschedules]
  verbs: [get, list, watch]
# The operator deletes finished EtcdOperations after a delay.
- apiGroups: [witan.dev]
  resources: [etcdoperations]
  verbs: [get, list, watch, delete]
# Schedules create and delete EtcdBackups.
- apiGroups: [witan.dev]
  resources: [etcdbackups]
  verbs: [get, list, watch, create, delete]
- apiGroups: [witan.dev]
  resources: [etcdclusters/status, etcdbackups/status, etcdbackupschedules/status, etcdoperations/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion need this permission.
- apiGroups: [witan.dev]
  resources: [etcdclusters/finalizers, etcdbackups/finalizers, etcdbackupschedules/finalizers, etcdoperations/finalizers]
  verbs: [update]
# Jobs take backups.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
# The operator never deletes Services, but OwnerReferencesPermissionEnforcement (OpenShift) requires the delete permission to
# set the owner of an existing object, such as a Service without an owner after kubectl delete --cascade=orphan.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The operator reads the Secrets that an EtcdCluster names and writes its certificates. It never deletes Secrets, but must set
# their owner, as for Services.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# For clusters with certificates from cert-manager. Without cert-manager, the rule has no effect.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Events explain why the pods of a Job are refused, or why a volume is not mounted.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
