{{/* The names under which the API server reaches the webhooks, as JSON. */}}
{{- define "spiderpool.tlsNames" -}}
{{- $name := include "spiderpool.controller" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $service := printf "%s.%s" $name $namespace -}}
{{- list "spidernet.io" (printf "%s.svc.%s" $service .Values.global.clusterDnsDomain) (printf "%s.svc" $service) $service | toJson -}}
{{- end -}}

{{/* The Secret's data as JSON: `ca.crt`, `tls.crt`, `tls.key`, in base64; {} where the controller fills it in. What the
     controller owns is not rendered: an upgrade would set it back, or be refused for the conflict. Only a Secret of an older
     release, whose type cannot change, is rendered as it is in the cluster. Made once: Secret and webhooks must agree. */}}
{{- define "spiderpool.certificate" -}}
{{- if not (hasKey . "Certificate") -}}
  {{- $tls := .Values.spiderpoolController.tls -}}
  {{- $data := dict -}}
  {{- if eq $tls.method "provided" -}}
    {{- $data = dict "ca.crt" $tls.provided.tlsCa "tls.crt" $tls.provided.tlsCert "tls.key" $tls.provided.tlsKey -}}
  {{- else -}}
    {{- $found := lookup "v1" "Secret" .Release.Namespace $tls.secretName -}}
    {{- if eq (get $found "type" | default "") "kubernetes.io/tls" -}}{{- $data = $found.data -}}{{- end -}}
  {{- end -}}
  {{- $_ := set . "Certificate" $data -}}
{{- end -}}
{{- toJson .Certificate -}}
{{- end -}}
