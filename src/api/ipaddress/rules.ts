import type { CelRule } from "../schema/crd.ts";

const othersNeed = [
  "(self.purpose != 'Sticky' || (has(self.nic) && has(self.podNamespace) && has(self.podName)))",
  "(self.purpose != 'Lease' || has(self.node))",
  "(!(self.purpose in ['Hold','Quarantine']) || (has(self.until) && has(self.reason)))",
  "(!has(self.containerID) || (has(self.node) && has(self.podUID)))",
  "(!has(self.nextContainerID) || (self.purpose == 'Sticky' && has(self.nextNode) && has(self.nextPodUID) && has(self.containerID)))",
];

/**
 * What a Pod's claim has to name, in the words of the schema: to look at a field in CEL costs the server more than all else that it
 * checks of a claim, since it copies the schema of all fields each time, and claims of Pods are the most frequent objects that
 * we have it create. A second holder there is only while a Sticky claim is attached.
 */
export const podClaimNeeds = [
  { required: ["podNamespace", "podName", "podUID", "nic", "node"], not: { required: ["nextContainerID"] } },
  { not: { properties: { purpose: { enum: ["Pod"] } } } },
];

/**
 * Transitions of a claim that the API server itself refuses: the last guard of "one address, one Pod". They exist only in CEL,
 * because none of our programs tries such a transition.
 */
export const claimRules: readonly CelRule[] = [
  {
    rule: `self.purpose == 'Pod' || (${othersNeed.join(" && ")})`,
    message:
      "Sticky needs podNamespace, podName and nic; Lease needs node; Hold and Quarantine need until and reason; an attached claim names its node and Pod; a second holder only while a Sticky claim is attached",
  },
  {
    rule: "self.address == oldSelf.address && self.pool == oldSelf.pool && self.poolUID == oldSelf.poolUID && self.poolGeneration == oldSelf.poolGeneration",
    message: "address, pool, poolUID and poolGeneration are immutable",
  },
  {
    rule: "oldSelf.purpose == 'Pod' ? (self.purpose in ['Pod','Lease','Quarantine'] && (self.purpose != 'Pod' || (self.podUID == oldSelf.podUID && self.node == oldSelf.node))) : true",
    message: "a Pod claim never changes Pod or node",
  },
  {
    rule: "oldSelf.purpose == 'Sticky' ? self.purpose in ['Sticky','Quarantine'] : true",
    message: "Sticky stays Sticky",
  },
  {
    rule: "oldSelf.purpose == 'Sticky' && has(oldSelf.containerID) && has(self.containerID) && self.containerID != oldSelf.containerID ? (self.podUID == oldSelf.podUID || (has(oldSelf.nextContainerID) && self.containerID == oldSelf.nextContainerID)) : true",
    message: "a Sticky claim passes to another Pod only through detached or through next",
  },
];

/** The name must be the address. The pattern is on `spec.address`: one on metadata.name would exceed the CEL cost budget. */
export const claimObjectRules: readonly CelRule[] = [
  {
    rule: "self.metadata.name == self.spec.address.replace(':','-')",
    message: "metadata.name must be spec.address (IPv6: ':' written '-')",
  },
];
