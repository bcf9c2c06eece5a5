{{/* Keys that no version of this chart knows, one a line. Takes (list GIVEN DEFAULTS PREFIX). A default of {} or null takes
     any key, and so do the parts that are not shipped. */}}
{{- define "spiderpool.unknown" -}}
{{- $defaults := index . 1 -}}
{{- $prefix := index . 2 -}}
{{- range $key, $value := index . 0 -}}
  {{- $path := printf "%s%s" $prefix $key -}}
  {{- if and (not (hasKey $defaults $key)) (kindIs "map" $value) $value -}}
    {{- include "spiderpool.unknown" (list $value dict (printf "%s." $path)) -}}
  {{- else if not (hasKey $defaults $key) -}}
    {{- printf "%s\n" $path -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" (get $defaults $key)) (not (has $path (list "rdma" "sriov"))) -}}
    {{- if get $defaults $key -}}
      {{- include "spiderpool.unknown" (list $value (get $defaults $key) (printf "%s." $path)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* What the user should know of the values that he gave, one sentence a line. */}}
{{- define "spiderpool.remarks" -}}
{{- $defaults := include "spiderpool.defaults" . | fromYaml -}}
{{- $renames := include "spiderpool.renames" . | fromYaml -}}
{{- range $old, $new := $renames -}}
  {{- $given := include "spiderpool.at" (list $.Given $old) | fromJson -}}
  {{- if hasKey $given "value" -}}
    {{- $used := eq (toJson $given) (include "spiderpool.at" (list $.Values $new)) -}}
    {{- printf "%s is called %s now: %s\n" $old $new (ternary "its value was taken, write it there" "that was set, too, and wins" $used) -}}
  {{- end -}}
{{- end -}}
{{- range $path := splitList "\n" (include "spiderpool.unknown" (list .Given $defaults "") | trim) -}}
  {{- $renamed := false -}}
  {{- range $old, $new := $renames -}}
    {{- if or (eq $path $old) (hasPrefix (printf "%s." $old) $path) -}}{{- $renamed = true -}}{{- end -}}
  {{- end -}}
  {{- if and $path (not $renamed) -}}{{- printf "%s is not a value of this chart and was ignored\n" $path -}}{{- end -}}
{{- end -}}
{{- range $path, $reason := include "spiderpool.inert" . | fromYaml -}}
  {{- $given := include "spiderpool.at" (list $.Given $path) | fromJson -}}
  {{- if hasKey $given "value" -}}
    {{- $default := (include "spiderpool.at" (list $defaults $path) | fromJson).value -}}
    {{- if and (ne (toJson $given.value) (toJson $default)) (or $given.value (hasPrefix "has no effect" $reason)) -}}
      {{- printf "%s %s\n" $path $reason -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $component := list "spiderpoolAgent" "spiderpoolController" -}}
  {{- $prometheus := (get $.Values $component).prometheus -}}
  {{- if and $prometheus.prometheusRule.install (not $prometheus.enabled) -}}
    {{- printf "%s.prometheus.prometheusRule.install has alerts on metrics that nobody serves: set %s.prometheus.enabled=true, too\n" $component $component -}}
  {{- end -}}
{{- end -}}
{{- range $component := list "spiderpoolAgent" "spiderpoolController" "spiderpoolInit" -}}
  {{- $image := (get $.Values $component).image -}}
  {{- $given := (include "spiderpool.at" (list $.Given (printf "%s.image.repository" $component)) | fromJson).value | default "" -}}
  {{- $tag := (include "spiderpool.at" (list $.Given (printf "%s.image.tag" $component)) | fromJson).value | default "" | toString -}}
  {{- $used := include "spiderpool.image" (dict "root" $ "image" $image) -}}
  {{- if and $given (ne $given $image.repository) -}}
    {{- printf "%s.image.repository is %s, another project's programs, which do not fit this chart: %s is used\n" $component $given $used -}}
  {{- else if include "spiderpool.formerTag" (dict "root" $ "tag" $tag) -}}
    {{- printf "%s.image.tag is %s, a version of another project: %s is used\n" $component $tag $used -}}
  {{- end -}}
{{- end -}}
{{- end -}}
