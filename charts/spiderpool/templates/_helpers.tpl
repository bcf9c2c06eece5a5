{{/* Every template begins with this: it replaces .Values by values that are complete, so that `--reuse-values` from any
     older release and null values render, and moves the values of keys that were renamed. Doing it twice changes nothing. */}}
{{- define "spiderpool.complete" -}}
{{- if not (hasKey . "Given") -}}
  {{- $_ := set . "Given" (deepCopy .Values) -}}
  {{- $values := mergeOverwrite (include "spiderpool.defaults" . | fromYaml) (include "spiderpool.withoutNull" .Values | fromYaml) -}}
  {{- $_ := set . "Values" $values -}}
  {{- include "spiderpool.renamed" . -}}
  {{- include "spiderpool.ownImages" . -}}
  {{- include "spiderpool.distribution" . -}}
  {{- include "spiderpool.check" . -}}
{{- end -}}
{{- end -}}

{{/* A map without its null entries, which stand for the defaults. */}}
{{- define "spiderpool.withoutNull" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
  {{- if kindIs "map" $value -}}
    {{- $_ := set $kept $key (include "spiderpool.withoutNull" $value | fromYaml) -}}
  {{- else if not (kindIs "invalid" $value) -}}
    {{- $_ := set $kept $key $value -}}
  {{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{/* The value at a path like `a.b.c`, as {"value": …}, or {} where there is none. Takes (list VALUES PATH). */}}
{{- define "spiderpool.at" -}}
{{- $found := dict "value" (index . 0) -}}
{{- range splitList "." (index . 1) -}}
  {{- if and (hasKey $found "value") (kindIs "map" $found.value) -}}
    {{- $found = ternary (dict "value" (get $found.value .)) (dict) (hasKey $found.value .) -}}
  {{- else -}}
    {{- $found = dict -}}
  {{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Sets the value at a path whose maps all exist. Takes (list VALUES PATH VALUE). */}}
{{- define "spiderpool.put" -}}
{{- $steps := splitList "." (index . 1) -}}
{{- $map := index . 0 -}}
{{- range initial $steps -}}{{- $map = get $map . -}}{{- end -}}
{{- $_ := set $map (last $steps) (index . 2) -}}
{{- end -}}

{{/* Whether a tag is a version of the former system, of which our images have none. Takes root and tag. */}}
{{- define "spiderpool.formerTag" -}}
{{- if and (regexMatch "^v?(0\\.[2-9]|1\\.[0-2])\\." .tag) (semverCompare "<0.2.0-0" .root.Chart.AppVersion) }}true{{ end -}}
{{- end -}}

{{/* Our image in place of the former system's, in the same registry and below the same path: its programs never fit this chart,
     and `--reuse-values` brings its repositories, which were that chart's defaults. Their tag or digest goes with them. So does a
     tag alone that a values file pins, because our repository has none of that name. */}}
{{- define "spiderpool.ownImages" -}}
{{- $defaults := include "spiderpool.defaults" . | fromYaml -}}
{{- range $component := list "spiderpoolAgent" "spiderpoolController" "spiderpoolInit" -}}
  {{- $image := (get $.Values $component).image -}}
  {{- $former := "spidernet-io/spiderpool/spiderpool-(agent|controller)$" -}}
  {{- if regexMatch (printf "^(.*/)?%s" $former) $image.repository -}}
    {{- $_ := set $image "repository" (regexReplaceAll $former $image.repository (get $defaults $component).image.repository) -}}
    {{- $_ := set $image "tag" "" -}}
    {{- $_ := set $image "digest" "" -}}
  {{- else if and (eq $image.repository (get $defaults $component).image.repository) (include "spiderpool.formerTag" (dict "root" $ "tag" (toString $image.tag))) -}}
    {{- $_ := set $image "tag" "" -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The paths that differ on some distributions; one that the user set himself stays. */}}
{{- define "spiderpool.distributions" -}}
k3s:
  global.cniBinHostPath: /var/lib/rancher/k3s/data/cni
  global.cniConfHostPath: /var/lib/rancher/k3s/agent/etc/cni/net.d
rke2: {}
k0s:
  spiderpoolAgent.networkResourcePlugin.kubeletRootDir: /var/lib/k0s/kubelet
microk8s:
  global.cniBinHostPath: /var/snap/microk8s/current/opt/cni/bin
  global.cniConfHostPath: /var/snap/microk8s/current/args/cni-network
  spiderpoolAgent.networkResourcePlugin.kubeletRootDir: /var/snap/microk8s/common/var/lib/kubelet
{{- end -}}

{{- define "spiderpool.distribution" -}}
{{- $defaults := include "spiderpool.defaults" . | fromYaml -}}
{{- range $path, $value := get (include "spiderpool.distributions" . | fromYaml) .Values.global.distribution | default dict -}}
  {{- $given := (include "spiderpool.at" (list $.Values $path) | fromJson).value -}}
  {{- if eq $given (include "spiderpool.at" (list $defaults $path) | fromJson).value -}}
    {{- include "spiderpool.put" (list $.Values $path $value) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* A name as Kubernetes takes it: 63 characters, no `-` at its end. */}}
{{- define "spiderpool.name" -}}
{{- trunc 63 . | trimSuffix "-" -}}
{{- end -}}
{{- define "spiderpool.agent" -}}{{- include "spiderpool.name" .Values.spiderpoolAgent.name -}}{{- end -}}
{{- define "spiderpool.controller" -}}{{- include "spiderpool.name" .Values.spiderpoolController.name -}}{{- end -}}
{{- define "spiderpool.init" -}}{{- include "spiderpool.name" .Values.spiderpoolInit.name -}}{{- end -}}
{{- define "spiderpool.prepare" -}}{{- include "spiderpool.name" (printf "%s-hook-pre-upgrade" (trunc 46 (include "spiderpool.init" .) | trimSuffix "-")) -}}{{- end -}}
{{- define "spiderpool.clean" -}}{{- printf "%s-hook-pre-delete" (trunc 48 .Values.spiderpoolController.name | trimSuffix "-") -}}{{- end -}}
{{/* Of objects without a namespace: two releases in a cluster must not meet. Takes (list ROOT PROCESS). */}}
{{- define "spiderpool.clusterName" -}}
{{- include "spiderpool.name" (printf "%s-%s" (index . 0).Release.Name (index . 1)) -}}
{{- end -}}

{{/* The three labels by which workloads select their Pods; a live release cannot change them. Takes root and component. */}}
{{- define "spiderpool.selector" -}}
app.kubernetes.io/name: {{ include "spiderpool.name" (.root.Values.global.nameOverride | default "spiderpool") }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* labels and annotations: our own, the common ones, those of the object. Takes root, component, labels, annotations, and
     program (`agent` or `controller`), by which tools find our Pods: names are the user's. */}}
{{- define "spiderpool.labels" -}}
{{- $root := .root -}}
{{- $text := printf "%s\n" (toYaml (merge (dict) (.labels | default dict) $root.Values.global.commonLabels)) -}}
{{- $labels := tpl $text $root | fromYaml -}}
{{- $labels = mergeOverwrite $labels (include "spiderpool.selector" . | fromYaml) -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $labels "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- with .program -}}{{- $_ := set $labels "spiderpool.spidernet.io/program" . -}}{{- end -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- $annotations := tpl (toYaml (merge (dict) (.annotations | default dict) $root.Values.global.commonAnnotations)) $root | fromYaml -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The metadata of an object. Takes root, component, name, and optionally namespace ("" for none), labels, annotations. */}}
{{- define "spiderpool.metadata" -}}
name: {{ .name }}
{{- $namespace := ternary .namespace .root.Release.Namespace (hasKey . "namespace") }}
{{- with $namespace }}
namespace: {{ . }}
{{- end }}
{{ include "spiderpool.labels" . }}
{{- end -}}

{{/* Reference of an image: registry, repository and digest or tag. Takes root and image. */}}
{{- define "spiderpool.image" -}}
{{- $registry := .root.Values.global.imageRegistryOverride | default .image.registry | default "" | trimSuffix "/" -}}
{{- $base := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $base .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $base (.image.tag | default (printf "v%s" .root.Chart.AppVersion) | toString) -}}
{{- end -}}
{{- end -}}

{{/* The program and its image in a container. Takes root, image and bin. */}}
{{- define "spiderpool.program" -}}
image: {{ include "spiderpool.image" . }}
imagePullPolicy: {{ .image.pullPolicy | default "IfNotPresent" }}
command: [{{ .bin | quote }}]
{{- end -}}

{{- define "spiderpool.pullSecrets" -}}
{{- with . }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Address under which the kubelet reaches a Pod in the node's network: nobody else needs to. */}}
{{- define "spiderpool.probeHost" -}}
{{- ternary "127.0.0.1" "::1" .Values.ipam.enableIPv4 -}}
{{- end -}}

{{/* A variable with the address where a port is bound; nothing for all. Takes name and address. */}}
{{- define "spiderpool.bindEnv" -}}
{{- if eq .address "node" }}
- name: {{ .name }}
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.hostIP}}
{{- else if .address }}
- name: {{ .name }}
  value: {{ .address | quote }}
{{- end }}
{{- end -}}

{{/* The three probes of a program. Takes root, port, address (where it is bound), checks (healthChecking), hostNetwork. */}}
{{- define "spiderpool.probes" -}}
{{- $probes := list "startup" "liveness" "readiness" -}}
{{- if semverCompare "<1.20-0" .root.Capabilities.KubeVersion.Version -}}{{- $probes = list "liveness" "readiness" -}}{{- end -}}
{{- range $probe := $probes }}
{{- $key := printf "%sProbe" $probe }}
{{ $key }}:
  httpGet:
    {{- /* Without a host it is the Pod's address, in the host's network the node's. */}}
    {{- if has $.address (list "" "0.0.0.0" "::") }}
    {{- if $.hostNetwork }}
    host: {{ include "spiderpool.probeHost" $.root | quote }}
    {{- end }}
    {{- else if ne $.address "node" }}
    host: {{ $.address | quote }}
    {{- end }}
    path: /runtime/{{ $probe }}
    port: {{ $.port | int }}
    scheme: HTTP
  {{- if eq $probe "startup" }}
  # The programs need a second: an earlier probe would be a Warning Event at each start.
  initialDelaySeconds: 1
  {{- end }}
  failureThreshold: {{ (get $.checks $key).failureThreshold | int }}
  periodSeconds: {{ (get $.checks $key).periodSeconds | int }}
  successThreshold: 1
  # One second is short for a node that starts a hundred Pods.
  timeoutSeconds: 5
{{- end }}
{{- end -}}

{{/* Variables from the Pod itself. */}}
{{- define "spiderpool.podEnv" -}}
- name: SPIDERPOOL_POD_NAMESPACE
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
- name: SPIDERPOOL_POD_NAME
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}
- name: SPIDERPOOL_NODE_NAME
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: spec.nodeName}}
{{- end -}}

{{/* A map of name to value as a container's variables, then the user's. Takes env and extra. */}}
{{- define "spiderpool.env" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ ternary ($value | int64 | toString) ($value | toString) (kindIs "float64" $value) | quote }}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The default network of the cluster as `namespace/name`; empty where none is named. */}}
{{- define "spiderpool.clusterNetwork" -}}
{{- with .Values.multus.multusCNI.defaultCniCRName -}}{{- printf "%s/%s" $.Release.Namespace . -}}{{- end -}}
{{- end -}}

{{/* The spec of the default SpiderCoordinator, as JSON. */}}
{{- define "spiderpool.coordinatorSpec" -}}
{{- $spec := pick .Values.coordinator "mode" "podCIDRType" "tunePodRoutes" "hijackCIDR" "vethMTU" -}}
{{- $_ := set $spec "vethMTU" ($spec.vethMTU | int) -}}
{{- with .Values.coordinator.policyRoutes -}}{{- $_ := set $spec "policyRoutes" . -}}{{- end -}}
{{- with .Values.coordinator.vethLinkAddress -}}{{- $_ := set $spec "vethLinkAddress" . -}}{{- end -}}
{{- toJson $spec -}}
{{- end -}}

{{/* The executables that the agent puts on the nodes, with commas. */}}
{{- define "spiderpool.cniPlugins" -}}
{{- $names := list "spiderpool" "coordinator" "ifacer" -}}
{{- if .Values.multus.multusCNI.install -}}{{- $names = prepend $names "multus" -}}{{- end -}}
{{- if .Values.plugins.installOvsCNI -}}{{- $names = concat $names (list "ovs" "ovs-mirror-producer" "ovs-mirror-consumer") -}}{{- end -}}
{{- join "," $names -}}
{{- end -}}
