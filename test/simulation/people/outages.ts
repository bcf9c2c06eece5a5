import type { Machine } from "../cluster/machine.ts";
import type { Node, World } from "../world.ts";
import { Registrations } from "./registrations.ts";

/** Where agents keep what they know of sandboxes. */
const recordFolders = { run: "/run/spiderpool/sandboxes", disk: "/var/lib/spiderpool/sandboxes" } as const;
/** Kubernetes sets the state of a node to unknown after it has heard nothing of it for this long. */
const silentMs = 40_000;

/** What goes wrong with nodes: their machines, their agents, their network and their objects. */
export class Outages {
  readonly registrations: Registrations;
  readonly #world: World;
  /** Until when each node is cut off from the API server. */
  readonly #cutUntilMs = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
    this.registrations = new Registrations(world, (node) => this.isCut(node));
  }

  /** All nodes are on and reach the API server again, and each has its agent. */
  end(): void {
    const world = this.#world;
    this.#cutUntilMs.clear();
    for (const node of world.nodes) {
      node.machine.trap = undefined;
      node.kubelet?.cut(false);
      if (!node.machine.isOn) this.#turnOn(node);
      this.registrations.join(node);
      world.heartbeat(node.machine.name, "True");
      if (node.agent === undefined) world.startAgent(node);
    }
  }

  restartAgent(node: Node, downMs: number): void {
    const world = this.#world;
    if (node.agent === undefined) return;
    world.killAgent(node);
    world.time.after(downMs, () => {
      if (node.machine.isOn && node.agent === undefined) world.startAgent(node);
    });
  }

  reboot(node: Node, downMs: number): void {
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
    this.registrations.unfence(node);
    node.machine.turnOn();
    // The runtime finds its sandboxes without their namespaces, and takes them down.
    for (const sandbox of node.sandboxes) sandbox.state = "failed";
    this.#world.time.after(5_000, () => {
      if (node.machine.isOn) this.#world.heartbeat(node.machine.name, "True");
    });
    this.#world.startKubelet(node);
    this.registrations.join(node);
    this.#world.startAgent(node);
  }

  isCut({ machine }: Node): boolean {
    return (this.#cutUntilMs.get(machine.name) ?? 0) > this.#world.time.nowMs;
  }

  /** Of several at once, the one that lasts longest. */
  partition(node: Node, ms: number): void {
    const { network, time } = this.#world;
    const { agent } = node;
    const { name } = node.machine;
    const untilMs = Math.max(time.nowMs + ms, this.#cutUntilMs.get(name) ?? 0);
    this.#cutUntilMs.set(name, untilMs);
    node.kubelet?.cut(true);
    if (agent !== undefined) network.cut(agent, true);
    const isCut = () => this.isCut(node);
    time.after(silentMs, () => {
      if (isCut()) this.#world.heartbeat(name, "Unknown");
    });
    time.after(ms, () => {
      if (isCut()) return;
      node.kubelet?.cut(false);
      if (agent !== undefined) network.cut(agent, false);
      if (node.machine.isOn) this.#world.heartbeat(name, "True");
    });
  }

  /** Somebody empties a folder, or a disk did not keep what was written: the records on it are gone, or half there. */
  loseRecords({ machine }: Node, torn: boolean): void {
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
}
