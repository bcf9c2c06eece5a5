import type { Settings } from "#api";
import type { OwnerReference, Pod } from "#kube";
import type { Claim, Holder } from "#ledger";

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
export function endpointOf({ spec }: Claim): string {
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
