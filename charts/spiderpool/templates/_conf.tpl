{{/* The settings of agent and controller. */}}
{{- define "spiderpool.conf" -}}
{{- $ipam := .Values.ipam -}}
{{- $autoPool := and $ipam.spiderSubnet.enable $ipam.spiderSubnet.autoPool.enable -}}
{{- $inject := .Values.spiderpoolController.podResourceInject -}}
{{- $plugin := .Values.spiderpoolAgent.networkResourcePlugin -}}
ipamUnixSocketPath: {{ .Values.global.ipamUNIXSocketHostPath | quote }}
enableIPv4: {{ $ipam.enableIPv4 }}
enableIPv6: {{ $ipam.enableIPv6 }}
enableStatefulSet: {{ $ipam.enableStatefulSet }}
enableKubevirtStaticIP: {{ $ipam.enableKubevirtStaticIP }}
enableSpiderSubnet: {{ $ipam.spiderSubnet.enable }}
enableAutoPoolForApplication: {{ $ipam.spiderSubnet.autoPool.enable }}
enableStrictIPPoolScope: {{ $ipam.enableStrictIPPoolScope }}
enableIPConflictDetection: {{ $ipam.enableIPConflictDetection }}
enableGatewayDetection: {{ $ipam.enableGatewayDetection }}
enableCleanOutdatedEndpoint: {{ $ipam.enableCleanOutdatedEndpoint }}
enableValidatingResourcesDeletedWebhook: {{ .Values.spiderpoolController.enableValidatingResourcesDeletedWebhook }}
clusterSubnetDefaultFlexibleIPNumber: {{ ternary ($ipam.spiderSubnet.autoPool.defaultRedundantIPNumber | int) 0 $autoPool }}
coolDown: {{ $ipam.coolDown | int }}
tuneSysctlConfig: {{ .Values.spiderpoolAgent.tuneSysctlConfig }}
podResourceInject:
  enabled: {{ $inject.enabled }}
  namespacesExclude: {{ $inject.namespacesExclude | toJson }}
  namespacesInclude: {{ $inject.namespacesInclude | toJson }}
iaasNetworkProvider:
  serverUrl: {{ .Values.iaasNetworkProvider.serverUrl | quote }}
  httpRequestTimeout: {{ .Values.iaasNetworkProvider.httpRequestTimeout | quote }}
agent:
  networkResourcePlugin:
    enabled: {{ $plugin.enabled }}
    kubeletRootDir: {{ $plugin.kubeletRootDir | quote }}
    devicePluginAffinity:
      nodeSelector: {{ $plugin.devicePluginAffinity.nodeSelector | toJson }}
    resourceAdvertisement:
      masterNIC:
        rules:
          {{- range $plugin.resourceAdvertisement.masterNIC.rules }}
          - nodeSelector: {{ .nodeSelector | default dict | toJson }}
            defaultMaxCount: {{ hasKey . "defaultMaxCount" | ternary .defaultMaxCount 10000 | int }}
            includeInterfaces: {{ .includeInterfaces | default list | toJson }}
            excludeInterfaces: {{ .excludeInterfaces | default list | toJson }}
          {{- else }} []
          {{- end }}
      subENI:
        rules:
          {{- range $plugin.resourceAdvertisement.subENI.rules }}
          - resourceName: {{ .resourceName | default "spidernet.io/sub-eni" | quote }}
            defaultMaxCount: {{ .defaultMaxCount | default 0 | int }}
            nodeSelector: {{ .nodeSelector | default dict | toJson }}
          {{- else }} []
          {{- end }}
{{- end -}}
