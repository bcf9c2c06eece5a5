import { copyOf, ensure, type Resource } from "./resource.ts";
import { formatLabels } from "./selectors.ts";
import { at, type Fields, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "./types.ts";

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

/** A workload with the replicas that a Scale asks for; with the Scale's resourceVersion, a change in between is refused. */
export function scaled(object: KubeObject, scale: unknown): KubeObject {
  const result = copyOf(object);
  result.metadata.resourceVersion = textAt(scale, "metadata", "resourceVersion") || object.metadata.resourceVersion;
  ensure(result, "spec")["replicas"] = numberAt(scale, "spec", "replicas");
  return result;
}

/** A Pod as its Binding leaves it; `now` is the transition's time. */
export function bound(pod: KubeObject, binding: unknown, now: string): KubeObject {
  const result = copyOf(pod);
  ensure(result, "spec")["nodeName"] = textAt(binding, "target", "name");
  const others = listAt(pod, "status", "conditions").filter((condition) => at(condition, "type") !== "PodScheduled");
  const scheduled = { type: "PodScheduled", status: "True", lastTransitionTime: now };
  ensure(result, "status")["conditions"] = [...others, scheduled];
  return result;
}

/** What a DELETE answers when the object is gone, and what actions answer. */
export function success(resource: Resource, object?: KubeObject): object {
  const { group, plural: kind } = resource;
  const details = object && { name: object.metadata.name, ...(group && { group }), kind, uid: object.metadata.uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", ...(details && { details }) };
}
