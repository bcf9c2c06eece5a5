import type { Settings } from "#api";
import type { Signal } from "#base";
import type { DeepReadonly, KubeClient, KubeObject, Resource } from "#kube";
import { keyOf, statefulSets } from "#kube";
import { type OwnerFact, parseOwner, statefulSetFact } from "./sticky.ts";

type VirtualMachine = DeepReadonly<KubeObject>;

const kubevirt = (plural: string, kind: string): Resource<VirtualMachine> => ({
  group: "kubevirt.io",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});
/** KubeVirt's kind, of which only names and deletion are read. */
export const virtualMachines = kubevirt("virtualmachines", "VirtualMachine");
const virtualMachineInstances = kubevirt("virtualmachineinstances", "VirtualMachineInstance");

interface OwnerQuestion {
  /** `apiVersion/kind/namespace/name`, as in the claim. */
  readonly owner: string;
  readonly podName: string;
}

/** Asks the API server whether the application of a detached sticky claim may still use the address. */
export async function readOwner(
  client: KubeClient,
  { owner, podName }: OwnerQuestion,
  settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">,
  o: Signal,
): Promise<OwnerFact> {
  const ref = parseOwner(owner);
  if (ref === undefined) return { kind: "unknown" };
  const { type, namespace, name } = ref;
  switch (type) {
    case "apps/v1/StatefulSet": {
      if (!settings.enableStatefulSet)
        return { kind: "invalid", why: "fixed addresses of StatefulSets are switched off" };
      const set = await client.get(statefulSets, { namespace, name }, o);
      return statefulSetFact(ref, set?.spec, podName);
    }
    case "kubevirt.io/v1/VirtualMachine":
    case "kubevirt.io/v1/VirtualMachineInstance": {
      if (!settings.enableKubevirtStaticIP) return { kind: "invalid", why: "fixed addresses of VMs are switched off" };
      return readMachine(client, { namespace, name }, o);
    }
    default:
      return { kind: "unknown" };
  }
}

/** The address is wanted while there is an instance that is not terminating, or a machine that may start one. */
async function readMachine(
  client: KubeClient,
  ref: { readonly namespace: string; readonly name: string },
  o: Signal,
): Promise<OwnerFact> {
  const instance = await client.get(virtualMachineInstances, ref, o);
  if (instance !== undefined && instance.metadata.deletionTimestamp === undefined) return { kind: "valid" };
  const owned = instance?.metadata.ownerReferences?.some(({ kind }) => kind === "VirtualMachine") ?? true;
  const machine = owned ? await client.get(virtualMachines, ref, o) : undefined;
  if (machine !== undefined && machine.metadata.deletionTimestamp === undefined) return { kind: "valid" };
  return { kind: "invalid", why: `there is neither a VirtualMachine nor a running instance ${keyOf(ref)}` };
}
