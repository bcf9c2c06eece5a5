import {
  decodeSettings,
  type NetworkAttachmentDefinition,
  type SpiderIPAddress,
  type SpiderIPPool,
  type SpiderSubnet,
} from "#api";
import { formatIp, parseIp } from "#ip";
import type { Node, Pod } from "#kube";
import { claimOf } from "#ledger";
import { planChange } from "../../../src/ctl/plan/plan.ts";
import type { Plan, State, StoredWorkload } from "../../../src/ctl/plan/state.ts";
import { deploymentTable } from "../cluster/applications.ts";
import type { Server } from "../cluster/server.ts";
import { statefulTable } from "../cluster/stateful.ts";
import type { Op } from "../history.ts";
import { specOf } from "../law/law.ts";
import { setOf } from "../law/parts.ts";
import { whoWaits } from "../law/rest.ts";
import { claimTable, poolTable, subnetTable } from "../law/tables.ts";
import { Violation } from "../law/violation.ts";
import type { World } from "../world.ts";
import type { People } from "./people.ts";

type PlanOp = Extract<Op, { readonly kind: "plan" }>;

/**
 * Asks what a change would come to, and makes it. Returns the judgement, for when all is at rest again; undefined where
 * the change would be refused, or where something is on its way without it: what is set aside, or Pods that wait.
 */
export function foretell(world: World, people: People, op: PlanOp): (() => void) | undefined {
  const { server } = world;
  const isCalm =
    whoWaits(world).length === 0 &&
    server.store.list(claimTable).every((claim) => ["Pod", "Sticky"].includes(specOf(claim).purpose)) &&
    server.store.list(poolTable).every(({ metadata }) => metadata.deletionTimestamp === undefined);
  const change = people.changeOf(op);
  if (!isCalm || change === undefined) return undefined;
  const plan = planChange(stateOf(server), { applied: [change.manifest], deleted: [] }, { namespace: "default" });
  if (plan.refused.length > 0) return undefined;
  const [counted, had] = [countsOf(server), holdersOf(server)];
  change.make();
  return () => judge(world, { plan, counted, had });
}

function judge(
  world: World,
  { plan, counted, had }: { readonly plan: Plan; readonly counted: Counts; readonly had: ReadonlySet<string> },
): void {
  const { server } = world;
  const stuck = plan.stuck.filter(({ when }) => when === "now").map(({ pod }) => pod);
  const waiting = whoWaits(world);
  if (stuck.length !== waiting.length) throw wrong("Pods that do not start", stuck, waiting);
  const now = countsOf(server);
  for (const name of new Set([...counted.keys(), ...now.keys()])) {
    const after = plan.pools.find(({ pool }) => pool === name)?.after;
    const said = after === undefined ? counted.get(name) : `${after.used} of ${after.total}`;
    if (said !== now.get(name)) throw wrong(`addresses of ${name}`, [said], [now.get(name)]);
  }
  const have = holdersOf(server);
  const lost = [...had].filter((one) => !have.has(one)).sort();
  const losses = plan.losses.filter(({ when }) => when === "now").map(({ address, pod }) => `${address} ${pod}`);
  if (lost.length !== losses.length) throw wrong("addresses that are lost", losses, lost);
}

function wrong(what: string, said: readonly unknown[], found: readonly unknown[]): Violation {
  return new Violation("a plan says what then happens", `${what}: it said [${said}], and it is [${found}]`);
}

type Counts = ReadonlyMap<string, string>;

function countsOf({ store }: Server): Counts {
  const claims = store.list(claimTable).map((claim) => parseIp(specOf(claim).address));
  return new Map(
    store.list(poolTable).map((pool) => {
      const set = setOf(pool);
      return [pool.metadata.name, `${claims.filter((ip) => set.contains(ip)).length} of ${set.size}`];
    }),
  );
}

/** `address namespace/pod` of every claim. */
function holdersOf({ store }: Server): ReadonlySet<string> {
  return new Set(
    store.list(claimTable).map((claim) => {
      const { address, podNamespace, podName } = specOf(claim);
      return `${formatIp(parseIp(address))} ${podNamespace}/${podName}`;
    }),
  );
}

/** The state of the cluster as the command reads it. */
function stateOf({ store }: Server): State {
  const list = <T>(table: string) => store.list(table) as unknown as readonly T[];
  const workloads = (table: string, kind: string) =>
    list<StoredWorkload>(table).map((one) => ({ ...one, apiVersion: "apps/v1", kind }));
  return {
    installation: {
      namespace: "kube-system",
      clusterNetwork: "first",
      families: [4, 6],
      found: true,
      settings: decodeSettings("").settings,
    },
    pools: list<SpiderIPPool>(poolTable),
    subnets: list<SpiderSubnet>(subnetTable),
    reservations: [],
    claims: list<SpiderIPAddress>(claimTable).flatMap((one) => claimOf(one) ?? []),
    workloads: [
      ...workloads(deploymentTable, "Deployment"),
      ...workloads("apps/replicasets", "ReplicaSet"),
      ...workloads(statefulTable, "StatefulSet"),
    ],
    pods: list<Pod>("/pods"),
    namespaces: list("/namespaces"),
    nodes: list<Node>("/nodes"),
    nads: list<NetworkAttachmentDefinition>("k8s.cni.cncf.io/network-attachment-definitions"),
  };
}
