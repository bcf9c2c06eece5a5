import { formatIp, ipFromValue, ipValue, parseIp } from "#ip";
import type { Manifest } from "../../src/ctl/manifests.ts";
import { type History, type Op, type StatefulAct, shape, type Who } from "./history.ts";
import { idOf, isOver } from "./kubelet.ts";
import { claimTable } from "./law.ts";
import type { Machine } from "./machine.ts";
import { group, Pools, range } from "./pools.ts";
import type { Process } from "./process.ts";
import { Registrations } from "./registrations.ts";
import { freeIn } from "./rest.ts";
import type { KubeObject } from "./server.ts";
import type { Node, World } from "./world.ts";

const namespace = "default";
/** Of any Pod: those that crowd have slots of their own. */
const slotsMax = shape.slots + shape.pools * shape.poolSizeMax + 2;
/** Where agents keep what they know of sandboxes. */
const recordFolders = { run: "/run/spiderpool/sandboxes", disk: "/var/lib/spiderpool/sandboxes" } as const;
/** A node of which nothing was heard for so long is told to be of unknown state. */
const silentMs = 40_000;
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

/** Everything that acts on the cluster from outside of the product: users, administrators, and bad luck. */
export class People {
  readonly #world: World;
  readonly #pools: Pools;
  #hashes = 0;
  /** Until when each node is cut off the API server. */
  readonly #cutUntilMs = new Map<string, number>();
  #backup: { readonly version: number; readonly pools: string; readonly restore: () => void } | undefined;
  #calmUntilMs = 0;
  readonly #registrations: Registrations;

  constructor(world: World) {
    this.#world = world;
    this.#registrations = new Registrations(world, (node) => this.#isCut(node));
    this.#pools = new Pools(world);
  }

  /** Plans all of a history. */
  plan({ ops }: History): void {
    for (const op of ops) this.#world.time.after(op.atMs, () => this.do(op));
  }

  do(op: Op): void {
    const world = this.#world;
    if (disturbing.has(op.kind) && world.time.nowMs < this.#calmUntilMs) return;
    switch (op.kind) {
      case "create":
        this.#createPod(op);
        return;
      case "burst":
        for (let at = op.slot; at < op.slot + op.count; at++) this.#createBare(at % shape.slots, at % shape.nodes);
        return;
      case "second-sandboxes":
        for (let at = op.slot; at < op.slot + op.count; at++) {
          this.#createBare(at % shape.slots, op.node);
          this.#toSandbox("second-sandbox", this.#pod(at % shape.slots));
        }
        return;
      case "delete":
        this.#deletePod(op.slot, op.force);
        return;
      case "lose-mirror": {
        const pod = this.#pod(op.slot);
        if (pod !== undefined && world.nodes.some(({ machine }) => machine.manifests.has(idOf(pod)))) {
          world.server.delete("v1", "pods", pod, 0);
        }
        return;
      }
      case "finish":
      case "crash":
      case "second-sandbox":
        this.#toSandbox(op.kind, this.#pod(op.slot));
        return;
      case "kill-agent":
        this.#restartAgent(this.#node(op.node), op.downMs);
        return;
      case "trap-agent": {
        const node = this.#node(op.node);
        node.machine.trap = { point: op.point, sprung: () => this.#restartAgent(node, op.downMs) };
        return;
      }
      case "reboot":
        this.#reboot(this.#node(op.node), op.downMs);
        return;
      case "partition":
        this.#partition(this.#node(op.node), op.ms);
        return;
      case "restart-kubelet": {
        const node = this.#node(op.node);
        if (node.machine.isOn) world.startKubelet(node);
        this.#registrations.join(node);
        return;
      }
      case "lose-records":
        this.#loseRecords(this.#node(op.node), op.torn);
        return;
      case "gc":
        if (this.#node(op.node).machine.isOn) this.#node(op.node).kubelet?.gc({ empty: op.empty });
        return;
      case "kill-controller":
        world.killController(op.at);
        world.time.after(op.downMs, () => {
          if (world.controllers[op.at] === undefined) world.startController(op.at);
        });
        return;
      case "pause":
        this.#who(op.who)?.pause(op.ms);
        return;
      case "fault": {
        const process = this.#who(op.who);
        if (process !== undefined) world.server.arm(process, op, op.effect);
        return;
      }
      case "lag": {
        const process = this.#who(op.who);
        if (process !== undefined) world.server.lag(process, op.plural, op.ms);
        return;
      }
      case "break-watches": {
        const process = this.#who(op.who);
        if (process !== undefined) world.server.endWatches(process, { expire: op.expire });
        return;
      }
      case "stateful":
        this.#toStateful(op.act, op.at);
        return;
      case "foreign": {
        const ip = formatIp(ipFromValue(4, ipValue(parseIp(range(op.pool, 1))) + BigInt(op.at)));
        // A host that takes an address which a Pod has is nobody's to prevent.
        if (world.wire.ask(ip, { containerId: "" }) !== undefined) return;
        world.wire.foreign.set(ip, world.time.nowMs);
        world.time.after(op.ms, () => world.wire.foreign.delete(ip));
        return;
      }
      case "half-open": {
        const process = this.#who(op.who);
        if (process !== undefined) world.server.deafenWatches(process);
        return;
      }
      case "pool-size":
        this.#pools.resize(op.pool, op.size);
        return;
      case "pool-delete":
        this.#deletePool(op.pool);
        return;
      case "pool-delete-unseen": {
        const { agent } = this.#node(op.node);
        if (agent !== undefined) world.server.lag(agent, "spiderippools", op.ms);
        // Nobody has an address of it any more when it is known to most that it goes, and then some want one.
        this.#deletePods();
        world.time.after(op.ms / 2, () => this.#deletePool(op.pool));
        world.time.after(op.ms, () => this.do({ ...op, kind: "burst", slot: 0, count: shape.slots / 2 }));
        return;
      }
      case "pool-create":
        this.#pools.create(op.pool);
        return;
      case "dual-stack":
        this.#pools.dualStack(op.size);
        return;
      case "manager-away":
        world.stateful.rest(op.ms);
        world.stateful.restart(op.at, { force: false });
        return;
      case "out-of-service":
        this.#reboot(this.#node(op.node), op.ms);
        this.#registrations.fence(this.#node(op.node));
        return;
      case "claim-edit":
        this.#labelClaim(op.at, (labels) => ({
          ...labels,
          "example.org/seen-at": String(Math.round(world.time.nowMs)),
        }));
        return;
      case "claim-labels":
        this.#labelClaim(op.at, () => (op.to === "none" ? {} : { pool: "of-others", node: "elsewhere" }));
        return;
      case "claim-delete": {
        const claim = this.#claim(op.at);
        if (claim === undefined) return;
        world.server.delete(group, "spideripaddresses", claim);
        // Before its node notices, somebody may want an address.
        world.time.after(2_000, () => this.do({ ...op, kind: "burst", slot: op.at % shape.slots, count: 4 }));
        return;
      }
      case "node-anew":
        this.#registrations.forget(this.#node(op.node), op.ms);
        return;
      case "plan":
      case "rush":
        return; // At the end: see run.ts.
      case "pool-rename":
        this.#pools.rename(op.pool);
        return;
      case "backup": {
        const { store } = world.server;
        this.#backup = { version: store.resourceVersion, pools: this.#pools.specs(), restore: store.backup() };
        return;
      }
      case "restore":
        this.#restore();
        return;
      case "rewind":
        this.do({ ...op, kind: "backup" });
        this.#deletePods();
        world.time.after(op.ms, () => this.do({ ...op, kind: "restore" }));
        return;
      case "app":
        this.#pools.resizeSubnet(undefined);
        world.applications.want(op.app, op);
        return;
      case "app-delete":
        world.applications.delete(op.app);
        return;
      case "app-restart":
        world.applications.restart(op.app);
        return;
      case "subnet-size":
        this.#pools.resizeSubnet(op.size);
        return;
      case "part-lag": {
        const process = world.controllers[op.at];
        if (process !== undefined) world.server.lag(process, "spideripaddresses", op.ms);
        return;
      }
      case "part-fault": {
        const process = world.controllers[op.at];
        if (process !== undefined) world.server.arm(process, op, op.effect);
        return;
      }
    }
  }

  /** Everything that works, works through it: whoever is away while etcd is put back may find that others have its addresses. */
  #restore(): void {
    const world = this.#world;
    const { server, time, nodes, controllers } = world;
    const backup = this.#backup;
    const isCut = nodes.some((node) => this.#isCut(node));
    const isWhole = !isCut && nodes.every(({ agent, machine }) => agent !== undefined && machine.isOn);
    // Addresses of a pool that was another one then are nobody's to claim again.
    if (backup === undefined || !isWhole || controllers.includes(undefined) || backup.pools !== this.#pools.specs())
      return;
    if (server.store.resourceVersion - backup.version < lostWritesMin) return;
    this.#backup = undefined;
    this.#calmUntilMs = time.nowMs + calmMs;
    server.heal();
    for (const { machine } of nodes) machine.trap = undefined;
    for (const process of world.processes()) process.resume();
    server.stop(world.processes());
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
    world.server.heal();
    this.#cutUntilMs.clear();
    world.wire.foreign.clear();
    for (const process of world.processes()) process.resume();
    for (const node of world.nodes) {
      node.machine.trap = undefined;
      node.kubelet?.cut(false);
      if (!node.machine.isOn) this.#turnOn(node);
      this.#registrations.join(node);
      world.heartbeat(node.machine.name, "True");
      if (node.agent === undefined) world.startAgent(node);
    }
    for (const [at, controller] of world.controllers.entries()) if (controller === undefined) world.startController(at);
  }

  /** Lets there be room for all: fewer Pods, all pools, one StatefulSet and one application, whose changes a plan may be asked. */
  calm(): void {
    const { stateful, applications } = this.#world;
    for (let slot = 3; slot < shape.slots; slot++) this.#deletePod(slot, false);
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
    this.#deletePods();
    time.after(releasedMs, () => this.#crowd((at) => at % shape.nodes));
    time.after(3 * releasedMs, () => this.#deletePods());
  }

  /** Makes more Pods on one node than addresses are left. */
  crowd(node: number): void {
    this.#crowd(() => node);
  }

  #crowd(nodeOf: (at: number) => number): void {
    const left = freeIn(this.#world.server).reduce((sum, { free }) => sum + Number(free), 0);
    for (let at = 0; at < left + 2; at++) this.#createBare(shape.slots + at, nodeOf(at));
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

  // ── Pods ──

  #createPod({ slot, node, nics, form }: Extract<Op, { readonly kind: "create" }>): void {
    const { server, nodes } = this.#world;
    if (this.#pod(slot) !== undefined) return;
    const isNamed = (metadata: { readonly name: string }) => metadata.name === podName(slot);
    // One file on one node is what a static Pod's name stands for.
    if (
      form === "static" &&
      nodes.some(({ machine }) => [...machine.manifests.values()].some((one) => isNamed(one.metadata)))
    )
      return;
    const networks = nics > 1 ? { "k8s.v1.cni.cncf.io/networks": "kube-system/second" } : {};
    const made = form === "static" ? (++this.#hashes).toString(16).padStart(32, "0") : undefined;
    const hash = made === undefined ? {} : { "kubernetes.io/config.hash": made, "kubernetes.io/config.mirror": made };
    const empty = form === "empty-uid" ? { "simulation/empty-uid": "" } : {};
    const annotations = { ...networks, ...hash, ...empty };
    const spec = {
      nodeName: this.#node(node).machine.name,
      restartPolicy: form === "job" ? "Never" : "Always",
      terminationGracePeriodSeconds: 2,
      containers: [],
    };
    const { machine } = this.#node(node);
    const body = { kind: "Pod", metadata: { name: podName(slot), namespace, annotations }, spec };
    if (made !== undefined) machine.manifests.set(made, { ...body, metadata: { ...body.metadata } });
    server.create(
      "v1",
      "pods",
      { kind: "Pod", metadata: { name: podName(slot), namespace, annotations }, spec },
      namespace,
    );
  }

  #createBare(slot: number, node: number): void {
    this.#createPod({ kind: "create", atMs: 0, slot, node, nics: 1, form: "bare" });
  }

  /** All but those of StatefulSets and applications. */
  #deletePods(): void {
    for (let slot = 0; slot < slotsMax; slot++) this.#deletePod(slot, false);
  }

  #deletePod(slot: number, force: boolean): void {
    const pod = this.#pod(slot);
    if (pod === undefined) return;
    for (const { machine } of this.#world.nodes) machine.manifests.delete(idOf(pod));
    this.#world.server.delete("v1", "pods", pod, force ? 0 : undefined);
  }

  #toStateful(act: StatefulAct, at: number): void {
    const { stateful } = this.#world;
    if (act === "scale") stateful.scale(at);
    else if (act === "restart" || act === "force") stateful.restart(at, { force: act === "force" });
    else if (act === "crash") this.#toSandbox("crash", stateful.pod(at));
    else stateful.delete({ orphan: act === "orphan" });
  }

  #toSandbox(kind: "finish" | "crash" | "second-sandbox", pod: KubeObject | undefined): void {
    if (pod === undefined || isOver(pod)) return;
    const spec = pod["spec"] as { readonly nodeName: string; readonly restartPolicy: string };
    const node = this.#world.nodes.find(({ machine }) => machine.name === spec.nodeName);
    if (node?.machine.isOn !== true) return;
    const uid = idOf(pod);
    if (kind === "crash") node.kubelet?.crash(uid);
    else if (kind === "second-sandbox") node.kubelet?.second(uid);
    else if (spec.restartPolicy === "Never") node.kubelet?.finish(uid);
  }

  #pod(slot: number): KubeObject | undefined {
    return this.#world.server.get("/pods", { namespace, name: podName(slot) });
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

  // ── nodes ──

  #node(at: number): Node {
    const node = this.#world.nodes[at];
    if (node === undefined) throw new RangeError(`there is no node ${at}`);
    return node;
  }

  #restartAgent(node: Node, downMs: number): void {
    const world = this.#world;
    if (node.agent === undefined) return;
    world.killAgent(node);
    world.time.after(downMs, () => {
      if (node.machine.isOn && node.agent === undefined) world.startAgent(node);
    });
  }

  #reboot(node: Node, downMs: number): void {
    const world = this.#world;
    if (!node.machine.isOn) return;
    world.killAgent(node);
    node.kubeletProcess?.kill();
    if (this.#hasOnlyCopies(node.machine)) world.law.forget(node.machine);
    node.machine.turnOff();
    world.time.after(silentMs, () => {
      if (!node.machine.isOn) world.heartbeat(node.machine.name, "Unknown");
    });
    world.time.after(downMs, () => {
      if (!node.machine.isOn) this.#turnOn(node);
    });
  }

  #turnOn(node: Node): void {
    this.#registrations.unfence(node);
    node.machine.turnOn();
    // The runtime finds its sandboxes without their namespaces, and takes them down.
    for (const sandbox of node.sandboxes) sandbox.state = "failed";
    this.#world.time.after(5_000, () => {
      if (node.machine.isOn) this.#world.heartbeat(node.machine.name, "True");
    });
    this.#world.startKubelet(node);
    this.#registrations.join(node);
    this.#world.startAgent(node);
  }

  #isCut({ machine }: Node): boolean {
    return (this.#cutUntilMs.get(machine.name) ?? 0) > this.#world.time.nowMs;
  }

  /** Of several at once, the one that lasts longest. */
  #partition(node: Node, ms: number): void {
    const { server, time } = this.#world;
    const { agent } = node;
    const { name } = node.machine;
    const untilMs = Math.max(time.nowMs + ms, this.#cutUntilMs.get(name) ?? 0);
    this.#cutUntilMs.set(name, untilMs);
    node.kubelet?.cut(true);
    if (agent !== undefined) server.cut(agent, true);
    const isCut = () => this.#isCut(node);
    time.after(silentMs, () => {
      if (isCut()) this.#world.heartbeat(name, "Unknown");
    });
    time.after(ms, () => {
      if (isCut()) return;
      node.kubelet?.cut(false);
      if (agent !== undefined) server.cut(agent, false);
      if (node.machine.isOn) this.#world.heartbeat(name, "True");
    });
  }

  /** Somebody empties a folder, or a disk did not keep what was written: the records on it are gone, or half there. */
  #loseRecords({ machine }: Node, torn: boolean): void {
    const folder = recordFolders.disk;
    for (const name of machine.disk.list(folder)) {
      const path = `${folder}/${name}`;
      const text = machine.disk.read(path) ?? "";
      if (torn) machine.disk.write(path, text.slice(0, text.length / 2));
      else machine.disk.remove(path);
    }
    if (!machine.isOn) this.#world.law.forget(machine);
  }

  /** Whether a boot now would take the only copy of a record. */
  #hasOnlyCopies({ disk }: Machine): boolean {
    const { run, disk: kept } = recordFolders;
    return disk.list(run).some((name) => disk.read(`${run}/${name}`) !== disk.read(`${kept}/${name}`));
  }

  #who(who: Who): Process | undefined {
    const [kind, at] = who.split(" ");
    return kind === "agent" ? this.#world.nodes[Number(at)]?.agent : this.#world.controllers[Number(at)];
  }
}

function podName(slot: number): string {
  return `pod-${slot}`;
}
