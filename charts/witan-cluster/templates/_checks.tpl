{{/* Fails on contradictory or unsupported values. Each message names the value to set instead. */}}
{{- define "witan-cluster.checks" -}}
{{- include "witan-cluster.checkCertificates" . }}
{{- include "witan-cluster.checkUsers" . }}
{{- include "witan-cluster.checkService" . }}
{{- include "witan-cluster.checkOthers" . }}
{{- end }}

{{- define "witan-cluster.checkCertificates" -}}
{{- $on := include "witan-cluster.ports" . | fromYaml }}
{{- with .Values.tls }}
{{- $issuer := .certManager.issuerRef }}
{{- $usesCertManager := or $issuer.name (ne $issuer.kind "Issuer") (ne $issuer.group "cert-manager.io") .certManager.duration .certManager.renewBefore }}
{{- if and $usesCertManager (not $on.client.tls) (not $on.peer.tls) }}
{{- fail "tls.certManager needs tls.enabled=true." }}
{{- end }}
{{- if and $usesCertManager (not $issuer.name) }}
{{- fail "tls.certManager needs issuerRef.name, the name of the issuer that signs the certificates." }}
{{- end }}
{{- if and .existingSecret (not .enabled) }}
{{- fail "tls.existingSecret needs tls.enabled=true." }}
{{- end }}
{{- if and $usesCertManager (or $on.client.secret $on.peer.secret) }}
{{- fail "Set only one of tls.certManager and tls.existingSecret: all certificates must have the same source." }}
{{- end }}
{{- range $name := list "existingPeerSecret" "existingOperatorSecret" }}
{{- if and (get $.Values.tls $name) (not $.Values.tls.existingSecret) }}
{{- fail (printf "tls.%s needs tls.existingSecret, the Secret for the client port." $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $port := list "client" "peer" }}
{{- $given := get $.Values.auth $port }}
{{- if and $given.existingSecret (not $given.secureTransport) }}
{{- fail (printf "auth.%s.existingSecret needs auth.%s.secureTransport=true." $port $port) }}
{{- end }}
{{- range $value, $file := dict "certFilename" "tls.crt" "certKeyFilename" "tls.key" "caFilename" "ca.crt" }}
{{- if and $given.existingSecret (not (has (get $given $value) (list nil "" $file))) }}
{{- fail (printf "auth.%s.%s is %s, which is not supported: the Secret must have the keys tls.crt, tls.key and ca.crt." $port $value (get $given $value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkUsers" -}}
{{- $on := include "witan-cluster.ports" . | fromYaml }}
{{- with .Values.auth.rbac }}
{{- if or .create .enabled }}
{{- if not $on.client.tls }}
{{- fail "auth.rbac.create=true needs tls.enabled=true: clients must not send passwords over a plaintext connection." }}
{{- end }}
{{- if not (or .rootPassword .existingSecret) }}
{{- fail "auth.rbac.create=true needs auth.rbac.rootPassword or auth.rbac.existingSecret." }}
{{- end }}
{{- if not (has .existingSecretPasswordKey (list nil "" "password")) }}
{{- fail (printf "auth.rbac.existingSecretPasswordKey is %s, which is not supported: the Secret must have the type kubernetes.io/basic-auth and the key password." .existingSecretPasswordKey) }}
{{- end }}
{{- else if or .rootPassword .existingSecret }}
{{- fail "auth.rbac.rootPassword and auth.rbac.existingSecret need auth.rbac.create=true: without it, members do not check passwords." }}
{{- else if eq (toString .allowNoneAuthentication) "false" }}
{{- fail "auth.rbac.allowNoneAuthentication=false needs auth.rbac.create=true: without it, every client is admitted." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkService" -}}
{{- $names := list (include "witan-cluster.clientService" .) (include "witan-cluster.peerService" .) }}
{{- if eq (first $names) (last $names) }}
{{- fail (printf "service.name and service.headless.name are both %s: the two Services need different names." (first $names)) }}
{{- end }}
{{- with .Values.service }}
{{- $ports := .ports | default dict }}
{{- range $value, $pair := dict "service.port" (list .port 2379) "service.ports.client" (list $ports.client 2379) "service.peerPort" (list .peerPort 2380) "service.ports.peer" (list $ports.peer 2380) }}
{{- $port := first $pair }}
{{- if and $port (ne (int $port) (last $pair)) }}
{{- fail (printf "%s is %v, which is not supported: members and their Service listen on port %d." $value $port (last $pair)) }}
{{- end }}
{{- end }}
{{- if eq (toString .enabled) "false" }}
{{- fail "service.enabled=false is not supported: the operator always creates the client Service." }}
{{- end }}
{{- if and (ne .type "ClusterIP") (join "" (values (.nodePorts | default dict))) }}
{{- fail "service.nodePorts cannot be set: Kubernetes assigns the node ports." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkOthers" -}}
{{- with .Values.image }}
{{- if and .repository (not .name) (ne (base .repository) "etcd") }}
{{- fail (printf "image.repository is %s, which has no effect: set image.name to the image of the members, with registry and tag." .repository) }}
{{- end }}
{{- end }}
{{- if not (has .Values.resourcesPreset (list nil "" "none")) }}
{{- fail (printf "resourcesPreset is %s, which is not supported: the presets are sized for a database on disk, but members keep all keys in memory. Set resources instead." .Values.resourcesPreset) }}
{{- end }}
{{- if (.Values.metrics.prometheusRule | default dict).enabled }}
{{- fail "metrics.prometheusRule.enabled=true is not supported: the alerts are in the chart witan-operator. Set prometheusRule.enabled=true there." }}
{{- end }}
{{- range .Values.extraEnvVars }}
{{- if or (not (hasPrefix "ETCD_" .name)) (not (hasKey . "value")) }}
{{- fail (printf "extraEnvVars has %s, but supports only variables ETCD_* with a value. Set other variables in extraSpec.podTemplate." .name) }}
{{- end }}
{{- if and (hasKey (include "witan-cluster.numbers" $ | fromYaml) .name) (not (regexMatch "^[0-9]+$" (toString .value))) }}
{{- fail (printf "extraEnvVars has %s=%v, which is not a number." .name .value) }}
{{- end }}
{{- end }}
{{- end }}
