/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { count, text, time } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { spiderPoolUsages } from "./types.ts";

/** How many ranges a list has at most: 8,192 IPv4 ranges take up to 256 KB. Further ranges are dropped; `free` stays exact. */
const usageRangesMax = 8192;
/** How many nodes a pool's usage lists at most. */
const usageNodesMax = 5000;

const ranges = (description: string) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 79 }), { description, maxItems: usageRangesMax }));

/** `spec`: the pool as it was looked at, and its taken addresses as ranges. */
export const poolUsageSpec = Type.Object({
  pool: text("The IPPool; the object has its name.", { maxLength: 253 }),
  poolUID: text("UID of the pool.", { maxLength: 36 }),
  poolGeneration: Type.Integer({ format: "int64", description: "The pool's spec that the figures are of." }),
  used: ranges("Claimed addresses as ascending ranges."),
  cooling: ranges("Free addresses that were released a moment ago: handed out last."),
  free: count("Addresses that can be claimed; exact even where `used` is cut short."),
  quarantined: Type.Optional(count("Claimed addresses in quarantine: somebody outside the cluster may use them.")),
  quarantinedUntil: Type.Optional(time("When the first of these ends.")),
  held: Type.Optional(
    count("Claimed addresses that are held back, for example because the pool is about to lose them."),
  ),
  nodes: Type.Optional(
    Type.Array(Type.String({ maxLength: 253 }), {
      description: "Nodes that draw from the pool now; the position is the node's rank.",
      maxItems: usageNodesMax,
    }),
  ),
  granted: ranges("Free addresses that are granted to nodes: the others try them last."),
  grants: Type.Optional(
    Type.Array(
      Type.Object({
        node: text("The node.", { maxLength: 253 }),
        ips: Type.Array(Type.String({ maxLength: 79 }), {
          description: "Ascending ranges.",
          maxItems: usageRangesMax,
        }),
      }),
      {
        description: "What is granted to which node, on which Pods wait: it tries these first.",
        maxItems: usageNodesMax,
      },
    ),
  ),
  epoch: Type.Integer({ format: "int64", description: "The leader's term: a former leader's figures are older." }),
  publishedAt: time("When the figures were right."),
});

/** The CRD's parts. */
export const poolUsageDefinition = definitionOf(spiderPoolUsages, "spu", {
  description: "Which addresses of a pool are taken: a hint that the leader publishes; the claims decide.",
  spec: poolUsageSpec,
  required: ["spec"],
  statusSubresource: false,
  columns: [
    { name: "FREE", type: "integer", jsonPath: ".spec.free", description: "free" },
    { name: "PUBLISHED", type: "date", jsonPath: ".spec.publishedAt", description: "publishedAt" },
  ],
});
