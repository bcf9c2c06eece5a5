import {
  effectiveSet,
  isAutoPool,
  parseControlledIPPools,
  type SpiderIPAddressSpec,
  type SpiderIPPool,
  type SpiderSubnet,
} from "#api";
import { type Family, formatIpSet, IpSet, parseIp, parseIpSet } from "#ip";
import { textAt } from "../../../lab/api/index.ts";
import type { Author, Change, KubeObject, Server } from "../cluster/server.ts";
import { subnetTable } from "./tables.ts";
import { Violation } from "./violation.ts";

interface PartsLawOptions {
  readonly server: Server;
  readonly poolTable: string;
  readonly claimTable: string;
  readonly guard: (check: () => void) => void;
}

/**
 * What must hold of pools, above all of those that are parts of a subnet: no address is in two pools, a part loses none that
 * a Pod has, and what is held so that a pool can lose it is held by the controller, for a time.
 */
export class PartsLaw {
  readonly #options: PartsLawOptions;

  constructor(options: PartsLawOptions) {
    this.#options = options;
    const { server, poolTable, guard } = options;
    server.store.listen(poolTable, (change) => guard(() => this.#poolChanged(change)));
    server.store.listen(subnetTable, ({ object }) => guard(() => this.#subnetChanged(object)));
  }

  /** A claim that is no Pod's was made. */
  held(name: string, { purpose, until = "" }: SpiderIPAddressSpec, { process }: Author): void {
    if (purpose !== "Hold" || (process.name.startsWith("controller") && until !== "")) return;
    throw new Violation("only the controller holds addresses, and for a time", `${name} by ${process.name}`);
  }

  #poolChanged({ type, object, previous }: Change): void {
    if (type === "DELETED") return;
    const { server, poolTable, claimTable } = this.#options;
    const set = setOf(object);
    for (const other of server.store.list(poolTable)) {
      if (other.metadata.name === object.metadata.name || familyOf(other) !== familyOf(object)) continue;
      if (!setOf(other).overlaps(set)) continue;
      const shared = formatIpSet(setOf(other).intersect(set));
      throw new Violation(
        "no address is in two pools",
        `${shared} is in ${object.metadata.name} and ${other.metadata.name}`,
      );
    }
    if (previous === undefined || !isAutoPool((object as unknown as SpiderIPPool).metadata)) return;
    const lost = setOf(previous).subtract(set);
    if (lost.isEmpty) return;
    for (const claim of server.store.list(claimTable)) {
      const { purpose, address, podName, poolUID } = claim["spec"] as SpiderIPAddressSpec;
      if (purpose === "Hold" || poolUID !== object.metadata.uid || !lost.contains(parseIp(address))) continue;
      throw new Violation(
        "the pool of an application loses no address that a Pod has",
        `${object.metadata.name} lost ${claim.metadata.name} of ${podName}`,
      );
    }
  }

  #subnetChanged(object: KubeObject): void {
    const { status } = object as unknown as SpiderSubnet;
    const parts = Object.entries(parseControlledIPPools(status?.controlledIPPools) ?? {});
    let all = IpSet.empty(4);
    for (const [name, { ips }] of parts) {
      const part = parseIpSet(ips, 4);
      if (all.overlaps(part)) {
        throw new Violation("a subnet gives no address twice", `${formatIpSet(all.intersect(part))}, also to ${name}`);
      }
      all = all.union(part);
    }
  }
}

export function setOf(object: KubeObject): IpSet {
  const family = familyOf(object);
  return effectiveSet((object as unknown as SpiderIPPool).spec, family) ?? IpSet.empty(family);
}

/** Of a pool or a subnet. */
export function familyOf(object: KubeObject): Family {
  return textAt(object, "spec", "subnet").includes(":") ? 6 : 4;
}
