import type { Settings } from "#api";
import type { OwnerReference, Pod } from "#kube";
import type { Claim, Holder } from "./claim.ts";

const statefulSet = "apps/v1/StatefulSet";
const virtualMachine = "kubevirt.io/v1/VirtualMachineInstance";

/** Whose addresses outlive a Pod, and how the next one finds them. */
export interface StickyOwner extends Required<Pick<Holder, "owner" | "sticky">> {
  readonly owner: NonNullable<Holder["owner"]>;
  /** The name of the SpiderEndpoint, which is the index of what is kept: the Pod's, or the virtual machine's. */
  readonly endpoint: string;
}

/** The owner that keeps the Pod's addresses; undefined where they go with the Pod. */
export function stickyOwnerOf(
  { metadata }: Pod,
  settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">,
): StickyOwner | undefined {
  const controller = metadata.ownerReferences?.find((owner) => owner.controller === true);
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

/** The name of the SpiderEndpoint that has to name this sticky claim. */
export function endpointOf({ spec }: Pick<Claim, "spec">): string {
  const owner = spec.owner ?? "";
  return kindOf(owner) === virtualMachine ? (owner.split("/").at(-1) ?? "") : (spec.podName ?? "");
}

/** KubeVirt's kind has had several versions, which are one kind. */
function ownerText({ apiVersion, kind, name }: OwnerReference, namespace: string): string {
  const version = apiVersion.startsWith("kubevirt.io/") ? "kubevirt.io/v1" : apiVersion;
  return `${version}/${kind}/${namespace}/${name}`;
}

function kindOf(owner: string): string {
  return owner.split("/").slice(0, -2).join("/");
}

/** Whether a sticky address is still wanted by the application that has it. */
export type OwnerFact =
  | { readonly kind: "valid" }
  | { readonly kind: "invalid"; readonly why: string }
  /** A kind that we cannot ask. */
  | { readonly kind: "unknown" };

/** A StatefulSet wants the ordinals from `spec.ordinals.start` on, as many as it has replicas. */
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

/** The parts of the `owner` of a claim; undefined where it is none. */
export function parseOwner(
  owner: string,
): { readonly type: string; readonly namespace: string; readonly name: string } | undefined {
  const parts = owner.split("/");
  const name = parts.pop();
  const namespace = parts.pop();
  if (name === undefined || namespace === undefined || parts.length < 2) return undefined;
  return { type: parts.join("/"), namespace, name };
}
