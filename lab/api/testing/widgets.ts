/** A CRD with every schema and column feature that the tests need, in two versions. */
export const widgetCrd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.lab.example.com
spec:
  group: lab.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd], categories: [lab]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      additionalPrinterColumns:
        - {name: MODE, type: string, jsonPath: .spec.mode}
        - {name: COUNT, type: integer, jsonPath: .spec.count}
        - {name: FIRST, type: string, jsonPath: '.spec.ips[0]'}
        - {name: RACK, type: string, jsonPath: ".metadata.labels['lab\\\\.example\\\\.com/rack']"}
        - {name: READY, type: string, jsonPath: '.status.conditions[0].status', priority: 1}
        - {name: AGE, type: date, jsonPath: .metadata.creationTimestamp}
      schema: &schema
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            apiVersion: {type: string}
            kind: {type: string}
            metadata: {type: object}
            spec:
              type: object
              required: [mode]
              x-kubernetes-validations: [{rule: "self.mode != 'never'"}]
              properties:
                mode: {type: string, enum: [fast, slow]}
                count: {type: integer, format: int64, minimum: 1, maximum: 10, default: 2}
                name: {type: string, pattern: '^[a-z]+$', maxLength: 5}
                until: {type: string, format: date-time}
                ips: {type: array, maxItems: 3, items: {type: string}}
                limits: {type: object, additionalProperties: {type: integer}}
                nested:
                  type: object
                  default: {}
                  properties:
                    enabled: {type: boolean, default: true}
            status:
              type: object
              properties:
                count: {type: integer}
                conditions: {type: array, items: {type: object, additionalProperties: {type: string}}}
    - name: v1beta1
      served: true
      storage: false
      schema: *schema
`;
