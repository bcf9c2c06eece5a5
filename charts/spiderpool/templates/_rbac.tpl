{{/* Binds the ClusterRole of the same name to a ServiceAccount of the release. Takes scope (of "spiderpool.metadata") and account. */}}
{{- define "spiderpool.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "spiderpool.metadata" .scope | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .scope.name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .scope.root.Release.Namespace }}
{{- end -}}

{{/* The names of our kinds' definitions. */}}
{{- define "spiderpool.kinds" -}}
{{- range list "spidercoordinators" "spiderendpoints" "spideripaddresses" "spiderippools" "spidermultusconfigs" "spiderpoolusages" "spiderreservedips" "spidersubnets" }}
- {{ . }}.spiderpool.spidernet.io
{{- end }}
{{- end -}}
