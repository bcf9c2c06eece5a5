import { copyOf, ensure, type Resource, type ScalePaths } from "./resource.ts";
import { at, type Fields, fieldsAt, type KubeObject, numberAt, textAt } from "./types.ts";

/** The `autoscaling/v1` Scale of an object. */
export function scaleOf(object: KubeObject, paths: ScalePaths): Fields {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = paths.selector === undefined ? undefined : at(object, ...paths.selector.split("."));
  const labels = Object.entries(fieldsAt(selector, "matchLabels")).map(([key, value]) => `${key}=${String(value)}`);
  const text = typeof selector === "string" ? selector : labels.join(",");
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: numberAt(object, ...paths.specReplicas.split(".")) },
    status: {
      replicas: numberAt(object, ...paths.statusReplicas.split(".")),
      ...(text === "" ? {} : { selector: text }),
    },
  };
}

/** `object` with the replicas that a Scale asks for. */
export function scaled(object: KubeObject, scale: unknown, paths: ScalePaths): KubeObject {
  const result = copyOf(object);
  const path = paths.specReplicas.split(".");
  const field = path.pop() ?? "";
  let parent: Fields = result;
  for (const step of path) parent = ensure(parent, step);
  parent[field] = numberAt(scale, "spec", "replicas");
  return result;
}

/** A Pod as its Binding leaves it; `now` is the transition's time. */
export function bound(pod: KubeObject, binding: unknown, now: string): KubeObject {
  const result = copyOf(pod);
  ensure(result, "spec")["nodeName"] = textAt(binding, "target", "name");
  const conditions = (at(result, "status", "conditions") ?? []) as unknown[];
  const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: now };
  const others = conditions.filter((condition) => at(condition, "type") !== "PodScheduled");
  ensure(result, "status")["conditions"] = [...others, scheduled];
  return result;
}

/** What a DELETE answers when the object is gone, and what actions answer. */
export function success(resource: Resource, object?: KubeObject): object {
  const { group, plural: kind } = resource;
  const details = object && { name: object.metadata.name, ...(group && { group }), kind, uid: object.metadata.uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", ...(details && { details }) };
}
