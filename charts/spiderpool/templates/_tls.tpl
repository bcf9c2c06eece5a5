{{/* The names under which the API server reaches the webhooks, as JSON. */}}
{{- define "spiderpool.tlsNames" -}}
{{- $name := include "spiderpool.controller" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $service := printf "%s.%s" $name $namespace -}}
{{- list "spidernet.io" (printf "%s.svc.%s" $service .Values.global.clusterDnsDomain) (printf "%s.svc" $service) $service | toJson -}}
{{- end -}}

{{/* The Secret's data as JSON: `ca.crt`, `tls.crt`, `tls.key`, in base64. That of the cluster stays as it is, so that an
     upgrade changes nothing under running controllers. Made once for a rendering: Secret and webhooks must agree. */}}
{{- define "spiderpool.certificate" -}}
{{- if not (hasKey . "Certificate") -}}
  {{- $tls := .Values.spiderpoolController.tls -}}
  {{- $data := dict -}}
  {{- if eq $tls.method "provided" -}}
    {{- $data = dict "ca.crt" $tls.provided.tlsCa "tls.crt" $tls.provided.tlsCert "tls.key" $tls.provided.tlsKey -}}
  {{- else -}}
    {{- $found := (lookup "v1" "Secret" .Release.Namespace $tls.secretName).data | default dict -}}
    {{- if and (get $found "ca.crt") (get $found "tls.crt") (get $found "tls.key") -}}
      {{- $data = pick $found "ca.crt" "tls.crt" "tls.key" -}}
    {{- else -}}
      {{- $names := concat (include "spiderpool.tlsNames" . | fromJsonArray) $tls.auto.extraDnsNames -}}
      {{- $ca := genCA "spidernet.io" ($tls.auto.caExpiration | int) -}}
      {{- $cert := genSignedCert "spidernet.io" $tls.auto.extraIpAddresses $names ($tls.auto.certExpiration | int) $ca -}}
      {{- $data = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $cert.Cert) "tls.key" (b64enc $cert.Key) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set . "Certificate" $data -}}
{{- end -}}
{{- toJson .Certificate -}}
{{- end -}}
