{{/* Values that contradict each other, or that a member cannot follow, fail with what to set instead. */}}
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
{{- $asks := or $issuer.name (ne $issuer.kind "Issuer") (ne $issuer.group "cert-manager.io") .certManager.duration .certManager.renewBefore }}
{{- if and $asks (not $on.client.tls) (not $on.peer.tls) }}
{{- fail "tls.certManager needs tls.enabled=true." }}
{{- end }}
{{- if and $asks (not $issuer.name) }}
{{- fail "tls.certManager needs issuerRef.name: who signs the certificates." }}
{{- end }}
{{- if and .existingSecret (not .enabled) }}
{{- fail "tls.existingSecret needs tls.enabled=true." }}
{{- end }}
{{- if and $asks (or $on.client.secret $on.peer.secret) }}
{{- fail "Set one of tls.certManager and tls.existingSecret: certificates have one source." }}
{{- end }}
{{- range $name := list "existingPeerSecret" "existingOperatorSecret" }}
{{- if and (get $.Values.tls $name) (not $.Values.tls.existingSecret) }}
{{- fail (printf "tls.%s needs tls.existingSecret, the secret of the clients' port." $name) }}
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
{{- fail (printf "auth.%s.%s is %s: the secret must have the keys tls.crt, tls.key and ca.crt, which the operator and cert-manager use." $port $value (get $given $value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkUsers" -}}
{{- $on := include "witan-cluster.ports" . | fromYaml }}
{{- with .Values.auth.rbac }}
{{- if or .create .enabled }}
{{- if not $on.client.tls }}
{{- fail "auth.rbac.create=true needs tls.enabled=true: passwords must not cross a connection in clear text." }}
{{- end }}
{{- if not (or .rootPassword .existingSecret) }}
{{- fail "auth.rbac.create=true needs auth.rbac.rootPassword or auth.rbac.existingSecret." }}
{{- end }}
{{- if not (has .existingSecretPasswordKey (list nil "" "password")) }}
{{- fail (printf "auth.rbac.existingSecretPasswordKey is %s: the operator reads the key password of a secret of type kubernetes.io/basic-auth." .existingSecretPasswordKey) }}
{{- end }}
{{- else if or .rootPassword .existingSecret }}
{{- fail "auth.rbac.rootPassword and auth.rbac.existingSecret need auth.rbac.create=true: without it no password is checked." }}
{{- else if eq (toString .allowNoneAuthentication) "false" }}
{{- fail "auth.rbac.allowNoneAuthentication=false needs auth.rbac.create=true: without it every client is admitted." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkService" -}}
{{- $names := list (include "witan-cluster.clientService" .) (include "witan-cluster.peerService" .) }}
{{- if eq (first $names) (last $names) }}
{{- fail (printf "service.name and service.headless.name are both %s: they name two Services." (first $names)) }}
{{- end }}
{{- with .Values.service }}
{{- $ports := .ports | default dict }}
{{- range $value, $pair := dict "service.port" (list .port 2379) "service.ports.client" (list $ports.client 2379) "service.peerPort" (list .peerPort 2380) "service.ports.peer" (list $ports.peer 2380) }}
{{- $port := first $pair }}
{{- if and $port (ne (int $port) (last $pair)) }}
{{- fail (printf "%s is %v: members listen on %d, and so does their Service." $value $port (last $pair)) }}
{{- end }}
{{- end }}
{{- if eq (toString .enabled) "false" }}
{{- fail "service.enabled=false: the operator always makes the Service of clients." }}
{{- end }}
{{- if and (ne .type "ClusterIP") (join "" (values (.nodePorts | default dict))) }}
{{- fail "service.nodePorts cannot be chosen: Kubernetes assigns them." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "witan-cluster.checkOthers" -}}
{{- with .Values.image }}
{{- if and .repository (not .name) (ne (base .repository) "etcd") }}
{{- fail (printf "image.repository is %s: the members' image is image.name, with its registry and tag." .repository) }}
{{- end }}
{{- end }}
{{- if not (has .Values.resourcesPreset (list nil "" "none")) }}
{{- fail (printf "resourcesPreset is %s: these sizes are for a database on disk, and members have all data in memory. Set resources." .Values.resourcesPreset) }}
{{- end }}
{{- if (.Values.metrics.prometheusRule | default dict).enabled }}
{{- fail "metrics.prometheusRule.enabled=true: the alerts are in the chart witan-operator (prometheusRule.enabled)." }}
{{- end }}
{{- range .Values.extraEnvVars }}
{{- if or (not (hasPrefix "ETCD_" .name)) (not (hasKey . "value")) }}
{{- fail (printf "extraEnvVars has %s: the values of variables ETCD_* become options of the server, and others go into extraSpec.podTemplate." .name) }}
{{- end }}
{{- if and (hasKey (include "witan-cluster.numbers" $ | fromYaml) .name) (not (regexMatch "^[0-9]+$" (toString .value))) }}
{{- fail (printf "extraEnvVars has %s=%v, which is no number." .name .value) }}
{{- end }}
{{- end }}
{{- end }}
