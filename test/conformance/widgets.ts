/** A definition with every feature of a schema that the product's own definitions use, and one rule of each kind. */
export const widgetCrd = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.conformance.example.com" },
  spec: {
    group: "conformance.example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", shortNames: ["wd"], categories: ["all-widgets"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: "MODE", type: "string", jsonPath: ".spec.mode" },
          { name: "COUNT", type: "integer", jsonPath: ".spec.count" },
          { name: "AGE", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["mode"],
                properties: {
                  mode: { type: "string", enum: ["fast", "slow", "never"] },
                  count: { type: "integer", format: "int64", minimum: 1, default: 2 },
                  name: { type: "string", pattern: "^[a-z]+$", maxLength: 5 },
                  size: { type: "integer", format: "int64" },
                  until: { type: "string", format: "date-time" },
                  ips: { type: "array", maxItems: 3, items: { type: "string", maxLength: 43 } },
                  limits: { type: "object", additionalProperties: { type: "integer" } },
                  nested: {
                    type: "object",
                    default: {},
                    properties: { enabled: { type: "boolean", default: true } },
                  },
                },
                "x-kubernetes-validations": [
                  { rule: "self.mode != 'never'", message: "mode must not be never" },
                  {
                    rule: "!has(oldSelf.name) || has(self.name) && self.name == oldSelf.name",
                    message: "name cannot be changed",
                  },
                  {
                    rule: "!has(self.ips) || self.ips.all(ip, ip.startsWith('10.'))",
                    messageExpression: "'not of ten: ' + self.ips.join(' ')",
                  },
                ],
              },
              status: { type: "object", properties: { seen: { type: "integer" }, phase: { type: "string" } } },
            },
          },
        },
      },
    ],
  },
};

/** Where objects of the suite's own definition are. */
export const widgets = "/apis/conformance.example.com/v1/namespaces/default/widgets";

/** An object of it. */
export function widget(name: string, spec: object = { mode: "slow" }, metadata: object = {}): object {
  return { apiVersion: "conformance.example.com/v1", kind: "Widget", metadata: { name, ...metadata }, spec };
}
