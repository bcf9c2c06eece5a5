import { formatIp, ipFromValue, ipValue, parseIp } from "#ip";
import type { Manifest } from "../../../src/ctl/manifests.ts";
import { idOf } from "../cluster/kubelet.ts";
import type { KubeObject } from "../cluster/server.ts";
import { type History, type Op, type StatefulAct, shape, type VirtualAct, type Who } from "../history.ts";
import { freeIn } from "../law/rest.ts";
import { claimTable } from "../law/tables.ts";
import type { Process } from "../runtime/process.ts";
import type { World } from "../world.ts";
import { BarePods } from "./bare-pods.ts";
import { Outages } from "./outages.ts";
import { group, Pools, range } from "./pools.ts";

/** How long nothing else goes wrong after etcd was put back: so long agents have to say what their sandboxes have. */
const calmMs = 120_000;
/** A backup of which less than so many writes are lost is no earlier state to those who go by versions. */
const lostWritesMin = 60;
/** Until then the addresses of deleted Pods are free, where nothing else is wrong. */
const releasedMs = 5_000;
/** What does not happen meanwhile. */
const disturbing: ReadonlySet<Op["kind"]> = new Set([
  ...([
    "kill-agent",
    "trap-agent",
    "reboot",
    "partition",
    "restart-kubelet",
    "lose-records",
    "kill-controller",
  ] as const),
  ...(["pause", "fault", "lag", "break-watches", "half-open", "backup", "restore", "rewind", "foreign"] as const),
]);

/** An operation of one kind. */
type OpOf<K extends Op["kind"]> = Op & { readonly kind: K };

/** Everything that acts on the cluster from outside of the product: users, administrators, and bad luck. */
export class People {
  readonly #world: World;
  readonly #pools: Pools;
  readonly #pods: BarePods;
  readonly #outages: Outages;
  #backup: { readonly version: number; readonly pools: string; readonly restore: () => void } | undefined;
  #calmUntilMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#pools = new Pools(world);
    this.#pods = new BarePods(world);
    this.#outages = new Outages(world);
  }

  /** Plans all of a history. */
  plan({ ops }: History): void {
    for (const op of ops) this.#world.time.after(op.atMs, () => this.do(op));
  }

  do<K extends Op["kind"]>(op: OpOf<K>): void {
    if (disturbing.has(op.kind) && this.#world.time.nowMs < this.#calmUntilMs) return;
    this.#acts[op.kind](op);
  }

  /** What comes of each kind of operation. */
  readonly #acts: { readonly [K in Op["kind"]]: (op: OpOf<K>) => void } = {
    // Pods
    create: (op) => this.#pods.create(op),
    burst: ({ slot, count }) => {
      for (let at = slot; at < slot + count; at++) this.#pods.createBare(at % shape.slots, at % shape.nodes);
    },
    "second-sandboxes": ({ slot, count, node }) => {
      for (let at = slot; at < slot + count; at++) {
        this.#pods.createBare(at % shape.slots, node);
        this.#pods.tell("second-sandbox", this.#pods.get(at % shape.slots));
      }
    },
    delete: ({ slot, force }) => this.#pods.delete(slot, force),
    "lose-mirror": ({ slot }) => {
      const { nodes, server } = this.#world;
      const pod = this.#pods.get(slot);
      if (pod !== undefined && nodes.some(({ machine }) => machine.manifests.has(idOf(pod)))) {
        server.delete("v1", "pods", pod, 0);
      }
    },
    finish: ({ slot }) => this.#pods.tell("finish", this.#pods.get(slot)),
    crash: ({ slot }) => this.#pods.tell("crash", this.#pods.get(slot)),
    "second-sandbox": ({ slot }) => this.#pods.tell("second-sandbox", this.#pods.get(slot)),
    stateful: ({ act, at }) => this.#toStateful(act, at),
    virtual: ({ act }) => this.#toVirtual(act),
    "manager-away": ({ at, ms }) => {
      this.#world.stateful.rest(ms);
      this.#world.stateful.restart(at, { force: false });
    },

    // nodes
    "kill-agent": ({ node, downMs }) => this.#outages.restartAgent(this.#world.node(node), downMs),
    "trap-agent": ({ node: at, point, downMs }) => {
      const node = this.#world.node(at);
      node.machine.trap = { point, sprung: () => this.#outages.restartAgent(node, downMs) };
    },
    reboot: ({ node, downMs }) => this.#outages.reboot(this.#world.node(node), downMs),
    partition: ({ node, ms }) => this.#outages.partition(this.#world.node(node), ms),
    "restart-kubelet": ({ node: at }) => {
      const node = this.#world.node(at);
      if (node.machine.isOn) this.#world.startKubelet(node);
      this.#outages.registrations.join(node);
    },
    "lose-records": ({ node, torn }) => this.#outages.loseRecords(this.#world.node(node), torn),
    gc: ({ node, empty }) => {
      const { machine, kubelet } = this.#world.node(node);
      if (machine.isOn) kubelet?.gc({ empty });
    },
    "out-of-service": ({ node, ms }) => {
      this.#outages.reboot(this.#world.node(node), ms);
      this.#outages.registrations.fence(this.#world.node(node));
    },
    "node-anew": ({ node, ms }) => this.#outages.registrations.forget(this.#world.node(node), ms),
    foreign: ({ pool, at, ms }) => {
      const { wire, time } = this.#world;
      const ip = formatIp(ipFromValue(4, ipValue(parseIp(range(pool, 1))) + BigInt(at)));
      // Nobody can prevent that a host takes an address which a Pod has.
      if (wire.ask(ip, { containerId: "" }) !== undefined) return;
      wire.foreign.set(ip, time.nowMs);
      time.after(ms, () => wire.foreign.delete(ip));
    },

    // the API server and those who use it
    "kill-controller": ({ at, downMs }) => {
      const world = this.#world;
      world.killController(at);
      world.time.after(downMs, () => {
        if (world.controllers[at] === undefined) world.startController(at);
      });
    },
    pause: ({ who, ms }) => this.#who(who)?.pause(ms),
    fault: (op) => this.#with(this.#who(op.who), (process) => this.#world.network.arm(process, op, op.effect)),
    lag: ({ who, plural, ms }) => this.#with(this.#who(who), (process) => this.#world.network.lag(process, plural, ms)),
    "break-watches": ({ who, expire }) =>
      this.#with(this.#who(who), (process) => this.#world.network.endWatches(process, { expire })),
    "half-open": ({ who }) => this.#with(this.#who(who), (process) => this.#world.network.deafenWatches(process)),
    "part-lag": ({ at, ms }) =>
      this.#with(this.#world.controllers[at], (process) => this.#world.network.lag(process, "spideripaddresses", ms)),
    "part-fault": (op) =>
      this.#with(this.#world.controllers[op.at], (process) => this.#world.network.arm(process, op, op.effect)),
    backup: () => {
      const { store } = this.#world.server;
      this.#backup = { version: store.resourceVersion, pools: this.#pools.specs(), restore: store.backup() };
    },
    restore: () => this.#restore(),
    rewind: ({ atMs, ms }) => {
      this.do({ kind: "backup", atMs });
      this.#pods.deleteAll();
      this.#world.time.after(ms, () => this.do({ kind: "restore", atMs }));
    },

    // pools, claims, applications
    "pool-size": ({ pool, size }) => this.#pools.resize(pool, size),
    "pool-create": ({ pool }) => this.#pools.create(pool),
    "pool-delete": ({ pool }) => this.#deletePool(pool),
    "pool-delete-unseen": ({ atMs, pool, node, ms }) => {
      const { network, time } = this.#world;
      this.#with(this.#world.node(node).agent, (agent) => network.lag(agent, "spiderippools", ms));
      // By the time most know that the pool goes, nobody has an address of it any more. Then some want one.
      this.#pods.deleteAll();
      time.after(ms / 2, () => this.#deletePool(pool));
      time.after(ms, () => this.do({ kind: "burst", atMs, slot: 0, count: shape.slots / 2 }));
    },
    "pool-rename": ({ pool }) => this.#pools.rename(pool),
    "dual-stack": ({ size }) => this.#pools.dualStack(size),
    "claim-edit": ({ at }) =>
      this.#labelClaim(at, (labels) => ({
        ...labels,
        "example.org/seen-at": String(Math.round(this.#world.time.nowMs)),
      })),
    "claim-labels": ({ at, to }) =>
      this.#labelClaim(at, () => (to === "none" ? {} : { pool: "of-others", node: "elsewhere" })),
    "claim-delete": ({ atMs, at }) => {
      const { server, time } = this.#world;
      const claim = this.#claim(at);
      if (claim === undefined) return;
      server.delete(group, "spideripaddresses", claim);
      // Before its node notices, somebody may want an address.
      time.after(2_000, () => this.do({ kind: "burst", atMs, slot: at % shape.slots, count: 4 }));
    },
    app: (op) => {
      this.#pools.resizeSubnet(undefined);
      this.#world.applications.want(op.app, op);
    },
    "app-delete": ({ app }) => this.#world.applications.delete(app),
    "app-restart": ({ app }) => this.#world.applications.restart(app),
    "subnet-size": ({ size }) => this.#pools.resizeSubnet(size),

    // These two come when all else is at rest: see run.ts.
    plan: () => {},
    rush: () => {},
  };

  #with(process: Process | undefined, act: (process: Process) => void): void {
    if (process !== undefined) act(process);
  }

  /** Everything that works, works through it: whoever is away while etcd is put back may find that others have its addresses. */
  #restore(): void {
    const world = this.#world;
    const { server, network, time, nodes, controllers } = world;
    const backup = this.#backup;
    const isCut = nodes.some((node) => this.#outages.isCut(node));
    const isWhole = !isCut && nodes.every(({ agent, machine }) => agent !== undefined && machine.isOn);
    // Addresses of a pool that was another one then are nobody's to claim again.
    if (backup === undefined || !isWhole || controllers.includes(undefined) || backup.pools !== this.#pools.specs())
      return;
    if (server.store.resourceVersion - backup.version < lostWritesMin) return;
    this.#backup = undefined;
    this.#calmUntilMs = time.nowMs + calmMs;
    network.heal();
    for (const { machine } of nodes) machine.trap = undefined;
    for (const process of world.processes()) process.resume();
    server.stop();
    for (const process of world.processes()) network.endWatches(process);
    time.after(1_000, () => {
      world.law.rewound();
      backup.restore();
      for (const node of nodes) world.tellAll(node);
    });
    time.after(5_000, () => server.start());
  }

  /** The end of all trouble: everything is connected, on, and as large as it was. */
  heal(): void {
    const world = this.#world;
    world.network.heal();
    world.wire.foreign.clear();
    world.virtual.stay();
    for (const process of world.processes()) process.resume();
    this.#outages.end();
    for (const [at, controller] of world.controllers.entries()) if (controller === undefined) world.startController(at);
  }

  /**
   * Lets there be room for all: fewer Pods, all pools, one StatefulSet and one application, whose changes a plan may be asked.
   */
  calm(): void {
    const { stateful, applications } = this.#world;
    for (let slot = 3; slot < shape.slots; slot++) this.#pods.delete(slot, false);
    for (let pool = 0; pool < shape.pools; pool++) {
      this.#pools.create(pool);
      this.#pools.resize(pool, 8);
    }
    stateful.scale(2);
    this.#pools.resizeSubnet(undefined);
    for (let app = 0; app < shape.applications; app++)
      applications.want(app, { replicas: 1, ipNumber: "+1", reclaim: true });
  }

  /** All Pods go, then nodes want more addresses than there are at the same time, and then nobody does. */
  rush(): void {
    const { time } = this.#world;
    this.#pods.deleteAll();
    time.after(releasedMs, () => this.#crowd((at) => at % shape.nodes));
    time.after(3 * releasedMs, () => this.#pods.deleteAll());
  }

  /** Makes more Pods on one node than addresses are left. */
  crowd(node: number): void {
    this.#crowd(() => node);
  }

  #crowd(nodeOf: (at: number) => number): void {
    const left = freeIn(this.#world.server).reduce((sum, { free }) => sum + Number(free), 0);
    for (let at = 0; at < left + 2; at++) this.#pods.createBare(shape.slots + at, nodeOf(at));
  }

  /** The change that a plan is asked about, as a manifest, and how it is made; undefined where what it is about is not there. */
  changeOf({ of, at, size }: Extract<Op, { readonly kind: "plan" }>) {
    const { stateful, applications } = this.#world;
    const apps = (kind: string, name: string) => ({ apiVersion: "apps/v1", kind, metadata: { name } });
    switch (of) {
      case "stateful": {
        if (!stateful.isThere) return undefined;
        const manifest = { ...apps("StatefulSet", "web"), spec: { replicas: size } } as Manifest;
        return { manifest, make: () => stateful.scale(size) };
      }
      case "app": {
        const asked = applications.asked(at);
        if (asked === undefined) return undefined;
        const manifest = { ...apps("Deployment", `app-${at}`), spec: { replicas: size } } as Manifest;
        return { manifest, make: () => applications.want(at, { ...asked, replicas: size }) };
      }
      case "pool": {
        const pool = this.#pools.get(at);
        if (pool === undefined) return undefined;
        const { name } = pool.metadata;
        const spec = { ips: [range(at, size)] };
        const manifest = { apiVersion: group, kind: "SpiderIPPool", metadata: { name }, spec } as Manifest;
        return { manifest, make: () => this.#pools.resize(at, size) };
      }
    }
  }

  #toStateful(act: StatefulAct, at: number): void {
    const { stateful } = this.#world;
    if (act === "scale") stateful.scale(at);
    else if (act === "restart" || act === "force") stateful.restart(at, { force: act === "force" });
    else if (act === "crash") this.#pods.tell("crash", stateful.pod(at));
    else stateful.delete({ orphan: act === "orphan" });
  }

  #toVirtual(act: VirtualAct): void {
    const { virtual } = this.#world;
    if (act === "crash") this.#pods.tell("crash", virtual.source());
    else if (act === "lose" || act === "force") virtual.lose({ force: act === "force" });
    else virtual[act]();
  }

  #claim(at: number): KubeObject | undefined {
    const claims = this.#world.server.store.list(claimTable);
    return claims[at % Math.max(1, claims.length)];
  }

  #labelClaim(at: number, next: (labels: Readonly<Record<string, string>>) => Readonly<Record<string, string>>): void {
    const claim = this.#claim(at);
    if (claim === undefined) return;
    const metadata = { ...claim.metadata, labels: next(claim.metadata.labels ?? {}) };
    this.#world.server.update(group, "spideripaddresses", { ...claim, metadata });
  }

  #deletePool(at: number): void {
    const pool = this.#pools.get(at);
    if (pool !== undefined) this.#world.server.delete(group, "spiderippools", pool);
  }

  #who(who: Who): Process | undefined {
    const [kind, at] = who.split(" ");
    return kind === "agent" ? this.#world.nodes[Number(at)]?.agent : this.#world.controllers[Number(at)];
  }
}
