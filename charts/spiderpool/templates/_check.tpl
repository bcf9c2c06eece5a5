{{/* What a schema cannot say: values that need each other. Refuses with the value's path and what to do. */}}
{{- define "spiderpool.check" -}}
{{- $pools := .Values.clusterDefaultPool -}}
{{- range $family := list "4" "6" -}}
  {{- if and (get $pools (printf "installIPv%sIPPool" $family)) (get $.Values.ipam (printf "enableIPv%s" $family)) -}}
    {{- if not (get $pools (printf "ipv%sSubnet" $family)) -}}
      {{- fail (printf "clusterDefaultPool.ipv%sSubnet is empty, and clusterDefaultPool.installIPv%sIPPool asks for a pool: name its network, like %s" $family $family (ternary "172.18.0.0/16" "fd00:172:18::/64" (eq $family "4"))) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $pools.installIPv4IPPool $pools.installIPv6IPPool -}}
  {{- if eq $pools.ipv4IPPoolName $pools.ipv6IPPoolName -}}
    {{- fail (printf "clusterDefaultPool.ipv4IPPoolName and clusterDefaultPool.ipv6IPPoolName are both %s: give the pools different names" $pools.ipv4IPPoolName) -}}
  {{- end -}}
  {{- if and .Values.ipam.spiderSubnet.enable (eq $pools.ipv4SubnetName $pools.ipv6SubnetName) -}}
    {{- fail (printf "clusterDefaultPool.ipv4SubnetName and clusterDefaultPool.ipv6SubnetName are both %s: give the subnets different names" $pools.ipv4SubnetName) -}}
  {{- end -}}
{{- end -}}
{{- if not (or .Values.ipam.enableIPv4 .Values.ipam.enableIPv6) -}}
  {{- fail "ipam.enableIPv4 and ipam.enableIPv6 are both false: a Pod needs one of them" -}}
{{- end -}}
{{- $tls := .Values.spiderpoolController.tls -}}
{{- if not (has $tls.method (list "auto" "provided" "certmanager")) -}}
  {{- fail (printf "spiderpoolController.tls.method is %s: allowed are auto, provided, certmanager" (toJson $tls.method)) -}}
{{- end -}}
{{- if eq $tls.method "provided" -}}
  {{- range $key := list "tlsCert" "tlsKey" "tlsCa" -}}
    {{- if not (get $tls.provided $key) -}}
      {{- fail (printf "spiderpoolController.tls.provided.%s is empty: with spiderpoolController.tls.method=provided it is required, PEM in base64" $key) -}}
    {{- end -}}
  {{- end -}}
{{- else if and (eq $tls.method "certmanager") (not $tls.certmanager.issuerName) -}}
  {{- fail "spiderpoolController.tls.certmanager.issuerName is empty: with spiderpoolController.tls.method=certmanager name an Issuer of the release's namespace" -}}
{{- end -}}
{{- range $component := list "spiderpoolAgent" "spiderpoolController" -}}
  {{- $prometheus := (get $.Values $component).prometheus -}}
  {{- if and $prometheus.serviceMonitor.install (not $prometheus.enabled) -}}
    {{- fail (printf "%s.prometheus.serviceMonitor.install needs metrics to scrape: set %s.prometheus.enabled=true" $component $component) -}}
  {{- end -}}
{{- end -}}
{{- $controller := .Values.spiderpoolController -}}
{{- if or (hasPrefix "127." $controller.webhookBindAddress) (eq "::1" $controller.webhookBindAddress) -}}
  {{- fail (printf "spiderpoolController.webhookBindAddress is %s: the API server does not reach it there; leave it empty, or say node" $controller.webhookBindAddress) -}}
{{- end -}}
{{- if not $controller.hostnetwork -}}
  {{- range $key, $address := dict "httpBindAddress" $controller.httpBindAddress "webhookBindAddress" $controller.webhookBindAddress "prometheus.bindAddress" $controller.prometheus.bindAddress -}}
    {{- if not (has $address (list "" "0.0.0.0" "::")) -}}
      {{- fail (printf "spiderpoolController.%s is %s, and spiderpoolController.hostnetwork=false gives the Pod an address that nobody knows before: leave it empty" $key $address) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $agent := .Values.spiderpoolAgent -}}
{{- $ofAgent := list (list "spiderpoolAgent.httpPort" $agent.httpPort "127.0.0.1") -}}
{{- if $agent.prometheus.enabled -}}
  {{- $ofAgent = append $ofAgent (list "spiderpoolAgent.prometheus.port" $agent.prometheus.port $agent.prometheus.bindAddress) -}}
{{- end -}}
{{- $ofController := list (list "spiderpoolController.httpPort" $controller.httpPort $controller.httpBindAddress) (list "spiderpoolController.webhookPort" $controller.webhookPort $controller.webhookBindAddress) -}}
{{- if $controller.prometheus.enabled -}}
  {{- $ofController = append $ofController (list "spiderpoolController.prometheus.port" $controller.prometheus.port $controller.prometheus.bindAddress) -}}
{{- end -}}
{{- $networks := list $ofAgent $ofController -}}
{{- if $controller.hostnetwork -}}{{- $networks = list (concat $ofAgent $ofController) -}}{{- end -}}
{{- range $ports := $networks -}}
  {{- $seen := dict -}}
  {{- range $one := $ports -}}
    {{- $port := index $one 1 | int | toString -}}
    {{- $isEverywhere := has (index $one 2) (list "" "0.0.0.0" "::") -}}
    {{- with get $seen $port -}}
      {{- if or $isEverywhere .everywhere -}}
        {{- fail (printf "%s and %s are both %s: programs on one network need a port each" .path (index $one 0) $port) -}}
      {{- end -}}
    {{- end -}}
    {{- $_ := set $seen $port (dict "path" (index $one 0) "everywhere" $isEverywhere) -}}
  {{- end -}}
{{- end -}}
{{- include "spiderpool.checkCluster" . -}}
{{- end -}}

{{/* What only a live cluster tells; nothing where there is none (helm template). */}}
{{- define "spiderpool.checkCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
  {{- if semverCompare "<1.31-0" .Capabilities.KubeVersion.Version -}}
    {{- fail (printf "this cluster runs Kubernetes %s: 1.31 is the oldest that knows addresses in the rules of our kinds; upgrade the cluster first" .Capabilities.KubeVersion.Version) -}}
  {{- end -}}
  {{- with lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" (include "spiderpool.controller" .) -}}
    {{- $annotations := .metadata.annotations | default dict -}}
    {{- $owner := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") -}}
    {{- if ne $owner (printf "%s/%s" $.Release.Namespace $.Release.Name) -}}
      {{- fail (printf "the cluster has a Spiderpool already: ValidatingWebhookConfiguration %s belongs to Helm release %q, not to %s/%s; upgrade that release, or remove it first" .metadata.name $owner $.Release.Namespace $.Release.Name) -}}
    {{- end -}}
  {{- end -}}
  {{- if .Values.multus.multusCNI.install -}}
    {{- range (lookup "apps/v1" "DaemonSet" "" "").items -}}
      {{- if and (hasPrefix "kube-multus" .metadata.name) -}}
        {{- fail (printf "DaemonSet %s/%s installs Multus on the nodes, and so would this release: remove it first, or set multus.multusCNI.install=false and keep it" .metadata.namespace .metadata.name) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
