import { copyOf, ensure, type Resource } from "../resource.ts";
import { formatLabels } from "../selectors.ts";
import { at, type Fields, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "../types.ts";

/** The `autoscaling/v1` Scale of a workload. */
export function scaleOf(object: KubeObject): Fields {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = formatLabels(fieldsAt(object, "spec", "selector", "matchLabels"));
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: numberAt(object, "spec", "replicas") },
    status: { replicas: numberAt(object, "status", "replicas"), selector },
  };
}

/** Changes a workload's replicas to those of a Scale. If the Scale has a resourceVersion, it must be the current one. */
export function scaled(object: KubeObject, scale: unknown): KubeObject {
  const result = copyOf(object);
  result.metadata.resourceVersion = textAt(scale, "metadata", "resourceVersion") || object.metadata.resourceVersion;
  ensure(result, "spec")["replicas"] = numberAt(scale, "spec", "replicas");
  return result;
}

/** Binds a Pod to the node of a Binding. `now` is the transition time of its condition. */
export function bound(pod: KubeObject, binding: unknown, now: string): KubeObject {
  const result = copyOf(pod);
  ensure(result, "spec")["nodeName"] = textAt(binding, "target", "name");
  const others = listAt(pod, "status", "conditions").filter((condition) => at(condition, "type") !== "PodScheduled");
  const scheduled = { type: "PodScheduled", status: "True", lastTransitionTime: now };
  ensure(result, "status")["conditions"] = [...others, scheduled];
  return result;
}

/** The answer of actions, and of a DELETE after which the object is gone. */
export function success(resource: Resource, object?: KubeObject): object {
  const { group, plural: kind } = resource;
  const details = object && { name: object.metadata.name, ...(group && { group }), kind, uid: object.metadata.uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", ...(details && { details }) };
}
