{{/* Keys of older releases, and keys that only documents ever had: old path, then the path that it means now. */}}
{{- define "spiderpool.renames" -}}
feature.enableIPv4: ipam.enableIPv4
feature.enableIPv6: ipam.enableIPv6
feature.enableStatefulSet: ipam.enableStatefulSet
feature.enableSpiderSubnet: ipam.spiderSubnet.enable
ipam.enableSpiderSubnet: ipam.spiderSubnet.enable
clusterDefaultPool.subnetDefaultFlexibleIPNumber: ipam.spiderSubnet.autoPool.defaultRedundantIPNumber
ipam.subnetDefaultFlexibleIPNumber: ipam.spiderSubnet.autoPool.defaultRedundantIPNumber
feature.gc.enabled: ipam.gc.enabled
feature.gc.gcAll.intervalInSecond: ipam.gc.gcAll.intervalInSecond
feature.gc.GcDeletingTimeOutPod.enabled: ipam.gc.statelessPod.zombieOnReadyNode
feature.gc.GcDeletingTimeOutPod.delay: ipam.gc.gcDeletingTimeOutPodDelay
ipam.gc.GcDeletingTimeOutPod.enabled: ipam.gc.statelessPod.zombieOnReadyNode
ipam.gc.GcDeletingTimeOutPod.delay: ipam.gc.gcDeletingTimeOutPodDelay
feature.grafanaDashboard.install: grafanaDashboard.install
feature.grafanaDashboard.namespace: grafanaDashboard.namespace
feature.grafanaDashboard.labels: grafanaDashboard.labels
feature.grafanaDashboard.annotations: grafanaDashboard.annotations
spiderpoolAgent.prometheus.grafanaDashboard.install: grafanaDashboard.install
spiderpoolAgent.prometheus.grafanaDashboard.namespace: grafanaDashboard.namespace
spiderpoolAgent.prometheus.grafanaDashboard.labels: grafanaDashboard.labels
spiderpoolAgent.prometheus.grafanaDashboard.annotations: grafanaDashboard.annotations
spiderpoolController.prometheus.grafanaDashboard.install: grafanaDashboard.install
spiderpoolController.prometheus.grafanaDashboard.namespace: grafanaDashboard.namespace
spiderpoolController.prometheus.grafanaDashboard.labels: grafanaDashboard.labels
spiderpoolController.prometheus.grafanaDashboard.annotations: grafanaDashboard.annotations
global.ipamBinHostPath: global.cniBinHostPath
global.tuneSysctlConfig: spiderpoolAgent.tuneSysctlConfig
spiderpoolController.cleanup.enabled: spiderpoolController.cleanup.enable
spiderpoolController.enablePodNetworkResourceInject: spiderpoolController.podResourceInject.enabled
{{- end -}}

{{/* The values of renamed keys go to their new place, where that was left at its default. */}}
{{- define "spiderpool.renamed" -}}
{{- $defaults := include "spiderpool.defaults" . | fromYaml -}}
{{- range $old, $new := include "spiderpool.renames" . | fromYaml -}}
  {{- $given := include "spiderpool.at" (list $.Given $old) | fromJson -}}
  {{- if hasKey $given "value" -}}
    {{- $now := include "spiderpool.at" (list $.Values $new) -}}
    {{- if eq $now (include "spiderpool.at" (list $defaults $new)) -}}
      {{- include "spiderpool.put" (list $.Values $new $given.value) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
