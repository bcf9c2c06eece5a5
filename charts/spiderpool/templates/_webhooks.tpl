{{/* How the API server reaches the controller. Takes root and path. */}}
{{- define "spiderpool.webhookClient" -}}
admissionReviewVersions: [v1]
sideEffects: None
clientConfig:
  service:
    name: {{ include "spiderpool.controller" .root }}
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
    port: {{ .root.Values.spiderpoolController.webhookPort | int }}
  {{- if ne .root.Values.spiderpoolController.tls.method "certmanager" }}
  {{- with get (include "spiderpool.certificate" .root | fromJson) "ca.crt" }}
  caBundle: {{ . }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* A webhook of one of our kinds. Takes root, singular, verb, operations. */}}
{{- define "spiderpool.webhook" -}}
- name: {{ .singular }}.spiderpool.spidernet.io
  {{- $path := printf "/%s-spiderpool-spidernet-io-v2beta1-%s" .verb .singular }}
  {{- include "spiderpool.webhookClient" (dict "root" .root "path" $path) | nindent 2 }}
  failurePolicy: Fail
  rules:
    - apiGroups: [spiderpool.spidernet.io]
      apiVersions: [v2beta1]
      resources: [{{ .singular }}s]
      operations: {{ toJson .operations }}
  # Before an installation this hook closes pools: also where the namespace of the former one was deleted by hand, which leaves
  # these webhooks without anybody who answers.
  matchConditions:
    - name: not-the-hook
      expression: {{ printf "request.userInfo.username != 'system:serviceaccount:%s:%s'" .root.Release.Namespace (include "spiderpool.prepare" .root) | quote }}
{{- end -}}

{{/* The webhook of Pods: a Pod starts without it rather than not at all, and never waits for it in our own namespace. */}}
{{- define "spiderpool.podWebhook" -}}
{{- $inject := .Values.spiderpoolController.podResourceInject -}}
- name: pods.spiderpool.spidernet.io
  {{- include "spiderpool.webhookClient" (dict "root" . "path" "/mutate--v1-pod") | nindent 2 }}
  failurePolicy: Ignore
  timeoutSeconds: 3
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      resources: [pods]
      operations: [CREATE]
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{ append $inject.namespacesExclude .Release.Namespace | uniq | toJson }}
      {{- with $inject.namespacesInclude }}
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ toJson . }}
      {{- end }}
{{- end -}}
