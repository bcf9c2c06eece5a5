import type { Netns } from "#linux";

/** Interfaces of other systems, and of Pods. */
const excluded =
  /^(docker.*|cbr.*|dummy.*|virbr.*|lxcbr.*|veth.*|lo|cali.*|flannel.*|kube-ipvs.*|cni.*|vx-submariner.*|cilium.*)$/;

/** Whether an interface of this name is the node's own, by which it is in a network. */
export function isNodeInterface(name: string): boolean {
  return !excluded.test(name);
}

const namesMax = 20;

/** The node's own interfaces, for the sentence about one that it does not have. */
export function nodeInterfaces({ rtnl }: Netns): readonly string[] {
  return rtnl
    .links()
    .map(({ name }) => name)
    .filter(isNodeInterface)
    .slice(0, namesMax);
}
