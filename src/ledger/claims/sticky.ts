import type { Settings } from "#api";
import { controllerOf, type OwnerReference, type Pod } from "#kube";
import type { Claim, Holder } from "./claim.ts";

const statefulSet = "apps/v1/StatefulSet";
const virtualMachine = "kubevirt.io/v1/VirtualMachineInstance";

/** The owner that keeps a Pod's addresses, and where the next Pod finds them. */
export interface StickyOwner extends Required<Pick<Holder, "owner" | "sticky">> {
  readonly owner: NonNullable<Holder["owner"]>;
  /** The name of the SpiderEndpoint that is the index of kept addresses: the Pod's name or the virtual machine's. */
  readonly endpoint: string;
}

/** The owner that keeps the Pod's addresses; undefined if they are released with the Pod. */
export function stickyOwnerOf(
  pod: Pod,
  settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">,
): StickyOwner | undefined {
  const { metadata } = pod;
  const controller = controllerOf(pod);
  if (controller === undefined) return undefined;
  const owner = { text: ownerText(controller, metadata.namespace ?? ""), uid: controller.uid };
  switch (kindOf(owner.text)) {
    case statefulSet:
      return settings.enableStatefulSet ? { owner, sticky: "pod", endpoint: metadata.name } : undefined;
    case virtualMachine:
      return settings.enableKubevirtStaticIP ? { owner, sticky: "owner", endpoint: controller.name } : undefined;
    default:
      return undefined;
  }
}

/** The name of the SpiderEndpoint that is the index of this sticky claim. */
export function endpointOf({ spec }: Pick<Claim, "spec">): string {
  const owner = spec.owner ?? "";
  return kindOf(owner) === virtualMachine ? (owner.split("/").at(-1) ?? "") : (spec.podName ?? "");
}

/** All versions of KubeVirt's API count as one, because an address outlives an upgrade of KubeVirt. */
function ownerText({ apiVersion, kind, name }: OwnerReference, namespace: string): string {
  const version = apiVersion.startsWith("kubevirt.io/") ? "kubevirt.io/v1" : apiVersion;
  return `${version}/${kind}/${namespace}/${name}`;
}

function kindOf(owner: string): string {
  return owner.split("/").slice(0, -2).join("/");
}

/** Whether the owner still needs a sticky address. */
export type OwnerFact =
  | { readonly kind: "valid" }
  | { readonly kind: "invalid"; readonly why: string }
  /** The owner is of a kind that we know nothing about. */
  | { readonly kind: "unknown" };

/** Whether a StatefulSet still has a Pod of this name: its ordinals begin at `spec.ordinals.start`, one for each replica. */
export function statefulSetFact(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  spec: { readonly replicas?: number; readonly ordinals?: { readonly start?: number } } | undefined,
  podName: string,
): OwnerFact {
  const of = `StatefulSet ${namespace}/${name}`;
  const [, set, digits = ""] = /^(.*)-([0-9]+)$/.exec(podName) ?? [];
  if (set !== name) return { kind: "invalid", why: `${podName} is no Pod of ${of}` };
  if (spec === undefined) return { kind: "invalid", why: `${of} does not exist` };
  const first = spec.ordinals?.start ?? 0;
  const last = first + (spec.replicas ?? 1) - 1;
  const ordinal = Number(digits);
  if (ordinal >= first && ordinal <= last) return { kind: "valid" };
  return {
    kind: "invalid",
    why: `${of} has ordinals ${last < first ? "none" : `${first} to ${last}`}, not ${ordinal}`,
  };
}

/** Parses the `owner` of a claim; undefined if it is malformed. */
export function parseOwner(
  owner: string,
): { readonly type: string; readonly namespace: string; readonly name: string } | undefined {
  const parts = owner.split("/");
  const name = parts.pop();
  const namespace = parts.pop();
  if (name === undefined || namespace === undefined || parts.length < 2) return undefined;
  return { type: parts.join("/"), namespace, name };
}
