import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes } from "#cni";
import type { PoolView } from "./pool.ts";
import type { SelectionInput } from "./select.ts";
import { subnetAnnotationKeys } from "./subnet-annotations.ts";

/** The part of an object's metadata that selection reads. */
interface Labelled {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** The Kubernetes objects that a selection depends on. */
interface SelectionObjects {
  readonly pod: Labelled & { readonly namespace?: string | undefined; readonly name: string; readonly uid: string };
  /** Undefined if it is not known; then it counts as one without labels. */
  readonly namespace: Labelled | undefined;
  readonly node: Labelled | undefined;
  readonly nodeName: string;
}

/** Brings the objects that a selection depends on into the form that the checks read. */
export function selectionFacts({
  pod,
  namespace,
  node,
  nodeName,
}: SelectionObjects): Pick<SelectionInput, "pod" | "namespace" | "node"> {
  const { namespace: podNamespace = "", name, uid, labels = {}, annotations = {} } = pod;
  return {
    pod: { namespace: podNamespace, name, uid, labels, annotations, nodeName },
    namespace: { name: podNamespace, labels: namespace?.labels ?? {}, annotations: namespace?.annotations ?? {} },
    node: { name: nodeName, labels: node?.labels ?? {} },
  };
}

/** Whether the Pod's top controller matters. It costs a request to know it. */
export function asksForOwner(pod: Labelled, pools: Iterable<PoolView>): boolean {
  const annotations = pod.annotations ?? {};
  const { subnet, subnets } = subnetAnnotationKeys;
  return annotations[subnet] !== undefined || annotations[subnets] !== undefined || [...pools].some(({ auto }) => auto);
}

/** The default pools in the `ipam` block of a plugin's configuration. Throws CniError 7. */
export function networkPools(config: JsonObject): SelectionInput["network"] {
  const block = isJsonObject(config["ipam"]) ? config["ipam"] : {};
  return {
    pools: { 4: namesAt(block, "default_ipv4_ippool"), 6: namesAt(block, "default_ipv6_ippool") },
    cleanGateway: block["clean_gateway"] === true,
  };
}

/**
 * With `match_master_subnet`, the PCI address of the NIC's virtual function, or "" if the configuration does not say it.
 * Undefined without `match_master_subnet`.
 */
export function masterOf(config: JsonObject): string | undefined {
  const block = isJsonObject(config["ipam"]) ? config["ipam"] : {};
  if (block["match_master_subnet"] !== true) return undefined;
  return typeof config["deviceID"] === "string" ? config["deviceID"] : "";
}

function namesAt(block: JsonObject, key: string): readonly string[] {
  const value = block[key] ?? [];
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
  throw new CniError(cniCodes.invalidConfig, "the network configuration has a value that cannot be used", {
    details: { field: `ipam.${key}`, value, allowed: "a list of IPPool names" },
  });
}
