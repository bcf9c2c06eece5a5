/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { flag, integer, text, time, validations, word } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { claimObjectRules, claimRules, podClaimNeeds } from "./rules.ts";
import { spiderIPAddresses } from "./types.ts";

const octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const address = `^((${octet}([.]${octet}){3})|([0-9a-f]{4}(:[0-9a-f]{4}){7}))$`;

const short = (description: string, maxLength: number) => Type.Optional(text(description, { maxLength }));

/** `spec`: the address, its holder, and what the ledger needs to tell a retry from another Pod. */
export const ipAddressSpec = Type.Object(
  {
    format: integer("Version of this format.", { minimum: 1, maximum: 1000 }),
    address: Type.String({
      maxLength: 39,
      pattern: address,
      description: "The address; IPv6 as eight groups of four digits. The object's name, with ':' written '-'.",
    }),
    purpose: word("What the address is kept for.", ["Pod", "Sticky", "Lease", "Hold", "Quarantine"]),
    pool: text("The IPPool; immutable, as poolUID.", { maxLength: 253 }),
    poolUID: text("UID of the pool.", { maxLength: 36 }),
    poolGeneration: Type.Integer({
      format: "int64",
      description: "The pool's spec by which the claim was judged; immutable.",
    }),
    node: short("Holder. Absent: a Sticky claim that is detached, or a Hold.", 253),
    bootID: short("Boot of the node; after another one the sandbox is certainly gone.", 36),
    podNamespace: short("Namespace of the Pod.", 63),
    podName: short("Name of the Pod.", 253),
    podUID: short("UID of the Pod as CNI gave it.", 64),
    nic: short("NIC in the Pod.", 15),
    slot: Type.Optional(
      integer("Index among the Pod's networks while the NIC's name is not known.", { minimum: 0, maximum: 63 }),
    ),
    containerID: short("Sandbox that has the address; absent while detached.", 128),
    network: short("CNI network, the scope of CNI GC.", 317),
    owner: short("Outermost owner: apiVersion/kind/namespace/name.", 640),
    ownerUID: short("UID of the owner, for people.", 64),
    nextNode: short("Node of the second holder while a virtual machine migrates.", 253),
    nextPodName: short("Pod of the second holder.", 253),
    nextPodUID: short("UID of the second holder's Pod.", 64),
    nextContainerID: short("Sandbox of the second holder.", 128),
    answer: short("JSON: what the Pod was told besides the address.", 8192),
    since: Type.Optional(time("When the claim was made.")),
    waiting: Type.Optional(
      integer("How many more addresses of the pool its node wanted when the claim was made: a hint for the leader.", {
        minimum: 1,
        maximum: 1_000_000,
      }),
    ),
    unclean: Type.Optional(flag("The last holder was not seen to end: probe before use.")),
    until: Type.Optional(time("When a Hold or Quarantine ends.")),
    reason: short("Why a Hold or Quarantine was made.", 256),
    mac: short("MAC of the foreign host that answered for the address.", 17),
  },
  {
    // Who writes a claim writes all of it: the server would otherwise keep and tell a list of its fields with each, half its size.
    "x-kubernetes-map-type": "atomic",
    anyOf: podClaimNeeds,
    ...validations(claimRules),
  },
);

/** The CRD's parts. */
export const ipAddressDefinition = definitionOf(spiderIPAddresses, "sia", {
  description: "The claim on one address. Written by agents and the controller only.",
  spec: ipAddressSpec,
  required: ["spec"],
  statusSubresource: false,
  columns: [
    { name: "PURPOSE", type: "string", jsonPath: ".spec.purpose", description: "purpose" },
    { name: "POOL", type: "string", jsonPath: ".spec.pool", description: "pool" },
    { name: "NODE", type: "string", jsonPath: ".spec.node", description: "node" },
    { name: "NAMESPACE", type: "string", jsonPath: ".spec.podNamespace", description: "podNamespace" },
    { name: "POD", type: "string", jsonPath: ".spec.podName", description: "podName" },
    { name: "NIC", type: "string", jsonPath: ".spec.nic", description: "nic" },
    { name: "UNTIL", type: "string", jsonPath: ".spec.until", description: "until", priority: 10 },
    { name: "MAC", type: "string", jsonPath: ".spec.mac", description: "mac", priority: 10 },
    { name: "REASON", type: "string", jsonPath: ".spec.reason", description: "reason", priority: 10 },
  ],
  rules: claimObjectRules,
});
