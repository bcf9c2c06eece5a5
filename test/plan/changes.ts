import { annotations } from "#api";
import type { Manifest } from "../../src/ctl/manifests.ts";
import type { Change } from "../../src/ctl/plan/state.ts";

const ours = "spiderpool.spidernet.io/v2beta1";

/** Applications of the world: each has its Pods on one node. */
const apps = [
  { kind: "StatefulSet", name: "db", node: "n1" },
  { kind: "StatefulSet", name: "mq", node: "n2" },
  { kind: "Deployment", name: "web", node: "n1" },
  { kind: "Deployment", name: "api", node: "n2" },
] as const;

/** Draws changes of a small world in which everything gets in the way of everything else. `random`: in [0, 1). */
export class Changes {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** What there is to begin with: all of it is made in one change. */
  first(): Change {
    const pools = [1, 2, 3, 4].map((number) => this.#pool(number));
    return { applied: [...pools, this.#subnet(), ...apps.map((app) => this.#app(app))], deleted: [] };
  }

  next(): Change {
    const kinds = [
      () => this.#pool(),
      () => this.#app(),
      () => this.#app(),
      () => this.#subnet(),
      () => this.#reserved(),
    ];
    const one = () => this.#pick(kinds)();
    if (this.#chance(0.15)) return { applied: [], deleted: [this.#chance(0.3) ? this.#app() : one()] };
    return { applied: this.#chance(0.25) ? [one(), one()] : [one()], deleted: [] };
  }

  /** Pools of `10.6.0.0/16`, each with a part of sixteen addresses of its own, as a rule; `p5` is in the subnet's CIDR. */
  #pool(number = 1 + this.#below(5)): Manifest {
    const block = this.#chance(0.1) ? 1 + this.#below(4) : number;
    const [cidr, base] = number === 5 ? ["10.7.0.0/16", "10.7.0"] : ["10.6.0.0/16", `10.6.${block}`];
    const first = 1 + this.#below(4);
    const ips = [`${base}.${first}-${base}.${first + this.#below(8)}`];
    const extra = this.#chance(0.2) ? [`${base}.${12 + this.#below(3)}`] : [];
    return {
      apiVersion: ours,
      kind: "SpiderIPPool",
      metadata: { name: `p${number}` },
      spec: {
        subnet: cidr,
        ips: [...ips, ...extra],
        excludeIPs: this.#chance(0.2) ? [`${base}.${2 + this.#below(4)}`] : [],
        disable: this.#chance(0.1),
        default: this.#chance(0.3),
        nodeName: this.#chance(0.15) ? [this.#pick(["n1", "n2"])] : [],
        namespaceName: this.#chance(0.1) ? [this.#pick(["default", "other"])] : [],
      },
    } as Manifest;
  }

  #subnet(): Manifest {
    const ips = [`10.7.0.1-10.7.0.${3 + this.#below(14)}`];
    return {
      apiVersion: ours,
      kind: "SpiderSubnet",
      metadata: { name: "s1" },
      spec: { subnet: "10.7.0.0/16", ips },
    } as Manifest;
  }

  #reserved(): Manifest {
    const base = this.#pick(["10.6.1", "10.6.2", "10.6.3", "10.7.0"]);
    const first = 1 + this.#below(5);
    const ips = [`${base}.${first}-${base}.${first + this.#below(3)}`];
    return {
      apiVersion: ours,
      kind: "SpiderReservedIP",
      metadata: { name: `r${this.#below(2)}` },
      spec: { ips },
    } as Manifest;
  }

  #app({ kind, name, node }: (typeof apps)[number] = this.#pick(apps)): Manifest {
    const template = {
      metadata: { annotations: this.#asked() },
      spec: { nodeSelector: { "kubernetes.io/hostname": node } },
    };
    const strategy = this.#chance(0.3) ? { strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } } : {};
    return {
      apiVersion: "apps/v1",
      kind,
      metadata: { namespace: "default", name },
      spec: { replicas: this.#below(6), template, ...(kind === "Deployment" && strategy) },
    } as Manifest;
  }

  #asked(): Readonly<Record<string, string>> {
    if (this.#chance(0.35)) {
      const { subnet, poolIpNumber } = annotations;
      return { [subnet]: '{"ipv4":["s1"]}', [poolIpNumber]: this.#pick(["+0", "+1", "2", "4"]) };
    }
    if (this.#chance(0.3)) return {};
    const names = ["p1", "p2", "p3", "p4", "p5"].filter(() => this.#chance(0.35));
    return { [annotations.ippool]: JSON.stringify({ ipv4: names.length === 0 ? ["p1"] : names }) };
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #chance(p: number): boolean {
    return this.#random() < p;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }
}
