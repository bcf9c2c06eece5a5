{{/* What spiderpool-init creates where it is absent, in this order. */}}
{{- define "spiderpool.initialObjects" -}}
{{- $pools := .Values.clusterDefaultPool -}}
{{- if .Values.coordinator.enabled }}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderCoordinator
metadata: {name: {{ .Values.coordinator.name }}}
spec: {{ include "spiderpool.coordinatorSpec" . }}
{{- end }}
{{- range $family := list "4" "6" }}
{{- $value := dict -}}
{{- range $key := list "IPPoolName" "SubnetName" "Subnet" "IPRanges" "Gateway" -}}
  {{- $_ := set $value $key (get $pools (printf "ipv%s%s" $family $key)) -}}
{{- end -}}
{{- if and (get $pools (printf "installIPv%sIPPool" $family)) (get $.Values.ipam (printf "enableIPv%s" $family)) }}
{{- $spec := dict "subnet" $value.Subnet "ips" $value.IPRanges -}}
{{- with $value.Gateway -}}{{- $_ := set $spec "gateway" . -}}{{- end -}}
{{- if $.Values.ipam.spiderSubnet.enable }}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderSubnet
metadata: {name: {{ $value.SubnetName }}}
spec: {{ toJson $spec }}
{{- end }}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: {{ $value.IPPoolName }}}
spec: {{ mergeOverwrite (dict "default" true) $spec | toJson }}
{{- end }}
{{- end }}
{{- if and .Values.multus.enableMultusConfig .Values.multus.multusCNI.defaultCniCRName }}
{{- /* Empty, and without a SpiderMultusConfig: the user's own, of the same name, is to fill it as it says. */}}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  namespace: {{ .Release.Namespace }}
  name: {{ .Values.multus.multusCNI.defaultCniCRName }}
  labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
{{- end }}
{{- end -}}

{{/* The Pod of a hook: it runs wherever the controller may, before any Pod network works. Takes root, image and account. */}}
{{- define "spiderpool.hookPod" -}}
{{- $controller := .root.Values.spiderpoolController -}}
{{- include "spiderpool.pullSecrets" .image.imagePullSecrets }}
serviceAccountName: {{ .account }}
restartPolicy: Never
priorityClassName: {{ $controller.priorityClassName | default "system-node-critical" }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
nodeSelector:
  {{- toYaml $controller.nodeSelector | nindent 2 }}
tolerations:
  {{- toYaml $controller.tolerations | nindent 2 }}
{{- end -}}

{{/* The security context of a program that needs no privilege, but may have to read files of root. */}}
{{- define "spiderpool.minimal" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* That of a program that only uses HTTP. */}}
{{- define "spiderpool.nobody" -}}
{{ include "spiderpool.minimal" . }}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
{{- end -}}
