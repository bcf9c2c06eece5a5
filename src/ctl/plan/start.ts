import { formatError, SpiderError } from "#base";
import { sentenceOf } from "#cni";
import type { Family } from "#ip";
import { decide, formatExhausted, parseRoutesAnnotation, type SelectionInput } from "#ipam";
import { keyOf, type Pod } from "#kube";
import { type Claim, type Holder, setAsideOf, type Wanted, wantedOf } from "#ledger";
import { managedNics } from "../explain/attempt.ts";
import { nodesOf } from "../explain/diagnose.ts";
import { type PodScene, selectionOf } from "../explain/scene.ts";
import type { World } from "./world.ts";

/** An address that an ADD would get. */
type Address =
  /** Whether it is kept for the Pod. */
  | { readonly kind: "kept"; readonly claim: Claim; readonly holder: Holder }
  | { readonly kind: "new"; readonly pool: string; readonly holder: Holder };

/** The result of a Pod's ADD. */
export type Start =
  | {
      readonly kind: "runs";
      readonly node: string;
      readonly addresses: readonly Address[];
      /** Kept for the Pod, and of pools that it does not name any more. */
      readonly givenUp: readonly Claim[];
    }
  | {
      readonly kind: "fails";
      readonly code: string;
      readonly why: string;
      readonly givenUp: readonly Claim[];
    };

interface StartOptions {
  /** Claims that the Pod's predecessor releases first. */
  readonly returned?: readonly Claim[];
  /** NICs whose network only the node knows, and which are known to have had addresses. */
  readonly nics?: readonly string[];
}

const noPools: SelectionInput["network"] = { pools: { 4: [], 6: [] }, cleanGateway: false };

/**
 * The result of the Pod's ADD, by the agent's own rules, on the first suitable node where it succeeds. Changes nothing.
 */
export function startOf(world: World, pod: Pod, options: StartOptions = {}): Start {
  const scene = world.sceneOf(pod);
  const nodes = nodesOf(scene);
  let first: Start | undefined;
  for (const node of nodes.length === 0 ? [""] : nodes) {
    const start = startOn(world, pod, node, scene, options);
    if (start.kind === "runs") return start;
    first ??= start;
  }
  return first ?? { kind: "runs", node: "", addresses: [], givenUp: [] };
}

function startOn(world: World, pod: Pod, node: string, scene: PodScene, options: StartOptions): Start {
  const { failure, nics: managed } = managedNics(scene);
  if (failure !== undefined) return failed(failure, []);
  const unseen = (options.nics ?? []).filter((nic) => !managed.some((one) => one.nic === nic));
  const addresses: Address[] = [];
  const givenUp: Claim[] = [];
  const later: Claim[] = [];
  const room = new Room(world, options.returned ?? []);
  try {
    for (const { nic, network } of [...managed, ...unseen.map((name) => ({ nic: name, network: noPools }))]) {
      const holder = world.holderOf(pod, nic);
      const kept = world.keptFor(holder);
      const names = (family: Family) => kept.filter(({ ip }) => ip.family === family).map(({ name }) => name);
      const wanted = decide(selectionOf(scene, node, nic, network)).map((decision) =>
        wantedOf(decision, { own: [], kept: kept.length === 0 ? undefined : { 4: names(4), 6: names(6) } }),
      );
      // Those of a family that is not asked for at all go when the others are there.
      const families = wanted.map(({ family }) => family);
      const unwanted = kept.filter((claim) => !isStillWanted(claim, wanted));
      givenUp.push(...unwanted.filter(({ ip }) => families.includes(ip.family)));
      later.push(...unwanted.filter(({ ip }) => !families.includes(ip.family)));
      for (const one of wanted) addresses.push(addressFor(one, holder, kept, room));
    }
    parseRoutesAnnotation(scene.pod.annotations);
  } catch (error) {
    return failed(error, givenUp);
  }
  return { kind: "runs", node, addresses, givenUp: [...givenUp, ...later] };
}

function isStillWanted({ ip, spec }: Claim, wanted: readonly Wanted[]): boolean {
  return wanted.some(({ family, named }) => family === ip.family && named.includes(spec.pool));
}

/** The kept address if its pool is still named, otherwise one of the first pool that has any. Throws why there is none. */
function addressFor(wanted: Wanted, holder: Holder, kept: readonly Claim[], room: Room): Address {
  const { family, named, candidates, refusal, nic } = wanted;
  const claim = kept.find(({ ip, spec }) => ip.family === family && named.includes(spec.pool));
  if (claim !== undefined) return { kind: "kept", claim, holder };
  const pool = candidates.find((name) => room.take(name));
  if (pool !== undefined) return { kind: "new", pool, holder };
  throw refusal ?? room.exhausted(nic, family, candidates);
}

/** How many addresses each pool has left during the simulation of one Pod. */
class Room {
  readonly #world: World;
  readonly #returned: readonly Claim[];
  readonly #taken = new Map<string, bigint>();

  constructor(world: World, returned: readonly Claim[]) {
    this.#world = world;
    this.#returned = returned;
  }

  /** Takes an address; false if the pool has none left. */
  take(pool: string): boolean {
    const view = this.#world.view(pool);
    if (view === undefined) return false;
    const allowed = view.set.subtract(this.#world.reserved(view.family));
    const back = this.#returned.filter(({ ip }) => ip.family === view.family && allowed.contains(ip)).length;
    const taken = this.#taken.get(pool) ?? 0n;
    if (this.#world.free(pool).size + BigInt(back) <= taken) return false;
    this.#taken.set(pool, taken + 1n);
    return true;
  }

  exhausted(nic: string, family: Family, pools: readonly string[]): SpiderError {
    const found = pools.flatMap((name) => {
      const pool = this.#world.view(name);
      if (pool === undefined) return [];
      const allowed = pool.set.subtract(this.#world.reserved(pool.family));
      return [{ pool, allowed: allowed.size, aside: setAsideOf(this.#world.claims.values(), allowed) }];
    });
    const { message, fix } = formatExhausted(nic, family, found);
    return new SpiderError("POOL_EXHAUSTED", message, { details: { fix } });
  }
}

function failed(error: unknown, givenUp: readonly Claim[]): Start {
  const { code, message } = sentenceOf(error);
  return { kind: "fails", code, why: message === "" ? formatError(error) : message, givenUp };
}

/** Lets the Pod have what its ADD comes to. Returns why it has not. */
export function startPod(world: World, pod: Pod, options: StartOptions = {}): Start {
  const start = startOf(world, pod, options);
  for (const claim of start.givenUp) world.release(claim, `Pod ${keyOf(pod.metadata)} asks for other pools now`);
  if (start.kind === "fails") return start;
  const placed = { ...pod, spec: { ...pod.spec, nodeName: start.node } } as Pod;
  world.pods.set(keyOf(pod.metadata), placed);
  for (const address of start.addresses) {
    if (address.kind === "kept") world.inherit(address.claim, address.holder);
    else world.take(address.pool, address.holder, start.node);
  }
  return start;
}
