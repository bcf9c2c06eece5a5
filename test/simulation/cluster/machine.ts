import type { PluginOutput, RawCall } from "#cni";
import type { Process } from "../runtime/process.ts";
import type { Wire } from "./wire.ts";

/** A network namespace of a sandbox, as far as anybody on the wire can tell. */
export interface Namespace {
  readonly path: string;
  readonly inode: bigint;
  readonly podUid: string;
  readonly containerId: string;
  /** Interfaces in it. One without addresses answers to nothing. */
  readonly links: Map<string, Link>;
}

/** One interface of a sandbox, and the name of its end on the host. */
export interface Link {
  readonly hostName: string;
  ips: readonly string[];
  /** The host's end is up: what is behind it is on the network. */
  isUp: boolean;
}

/** The socket of an agent: whoever listens on it, and how it answers. */
export interface Listener {
  readonly process: Process;
  /** Told when another one listens in its place. */
  readonly superseded: () => void;
  readonly handle: (
    call: RawCall,
    context: { readonly signal: AbortSignal; readonly exec: () => Promise<never> },
  ) => Promise<PluginOutput>;
}

/** What may be said about a port of the switch. */
interface Port {
  readonly name: string;
  readonly bridge: string;
  readonly owner: { readonly contPodUid: string; readonly contNetns: string; readonly contIface: string };
}

/** A static Pod, as its mirror is made. */
interface StaticPod {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly [field: string]: unknown;
}

/** A machine of the cluster: what its kernel, its switch and its disk hold, whichever processes come and go. */
export class Machine {
  readonly name: string;
  readonly disk = new Disk();
  readonly namespaces = new Map<string, Namespace>();
  readonly ports = new Map<string, Port>();
  /** Which process has which lock. */
  readonly locks = new Map<string, Process>();
  readonly portListeners = new Set<() => void>();
  /** Called whenever an interface gets addresses. */
  onAddressed: (namespace: Namespace, ips: readonly string[]) => void = () => {};
  /** The segment that it is on. */
  wire: Wire | undefined;
  /** Its plugins ask whether others have an address, before a Pod gets it. */
  detects = false;
  listener: Listener | undefined;
  /** Where the agent is killed: `ADD claim:after`. */
  trap: { readonly point: string; readonly sprung: () => void } | undefined;
  isOn = true;
  /** What its monotonic clock, which its processes share, has more than the world's time. */
  monotonicOffMs: number | undefined;
  /** Static Pods by the hash of their configuration: as long as one is here, kubelet runs it. */
  readonly manifests = new Map<string, StaticPod>();
  /** Of the next sandbox: container IDs never come again. */
  nextSandbox = 1;
  #boots = 1;
  #inodes = 100n;

  constructor(name: string) {
    this.name = name;
  }

  get bootId(): string {
    return `boot-${this.name}-${this.#boots}`;
  }

  createNamespace(path: string, podUid: string, containerId: string): Namespace {
    const namespace = { path, inode: this.#inodes++, podUid, containerId, links: new Map() };
    this.namespaces.set(path, namespace);
    return namespace;
  }

  /** Takes its interfaces along; the switch keeps their ports, and marks them. */
  removeNamespace(path: string): void {
    if (this.namespaces.delete(path)) this.tellPorts();
  }

  /** By the name of its end on the host. */
  linkOf(name: string): Link | undefined {
    for (const { links } of this.namespaces.values()) {
      for (const link of links.values()) if (link.hostName === name) return link;
    }
    return undefined;
  }

  hasHostLink(name: string): boolean {
    return this.linkOf(name) !== undefined;
  }

  /** The ends on the host of all interfaces. */
  hostNames(): readonly string[] {
    return [...this.namespaces.values()].flatMap(({ links }) => [...links.values()].map(({ hostName }) => hostName));
  }

  tellPorts(): void {
    for (const listener of [...this.portListeners]) listener();
  }

  /** Power goes: all that is not on the disk is gone. */
  turnOff(): void {
    this.isOn = false;
    this.listener = undefined;
    this.namespaces.clear();
    this.portListeners.clear();
    this.locks.clear();
    this.disk.clear("/run/");
  }

  turnOn(): void {
    this.isOn = true;
    this.#boots += 1;
  }

  /** The addresses that something on this machine answers for. */
  *answering(): Generator<{ readonly namespace: Namespace; readonly ip: string }> {
    for (const namespace of this.namespaces.values()) {
      for (const { ips, isUp } of namespace.links.values()) {
        if (isUp) for (const ip of ips) yield { namespace, ip };
      }
    }
  }
}

/** Whether the agent has taken the sandbox off the network: it has addresses, and answers for none. */
export function isCutOff({ links }: Namespace): boolean {
  return links.size > 0 && [...links.values()].every(({ isUp }) => !isUp);
}

/** The MAC address of a sandbox's interfaces. */
export function macOf(containerId: string): string {
  const digits = [...containerId].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 0xffffff, 7);
  return `02:00:00:${digits
    .toString(16)
    .padStart(6, "0")
    .replace(/(..)(..)(..)/, "$1:$2:$3")}`;
}

/** Files by path. Folders are there as soon as somebody asks for them. */
class Disk {
  readonly #files = new Map<string, string>();

  read(path: string): string | undefined {
    return this.#files.get(path);
  }

  write(path: string, text: string): void {
    this.#files.set(path, text);
  }

  remove(path: string): boolean {
    return this.#files.delete(path);
  }

  /** The names in a folder, in the order in which they were made. */
  list(folder: string): readonly string[] {
    const prefix = folder.endsWith("/") ? folder : `${folder}/`;
    return [...this.#files.keys()]
      .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/"))
      .map((path) => path.slice(prefix.length));
  }

  clear(prefix: string): void {
    for (const path of [...this.#files.keys()]) if (path.startsWith(prefix)) this.#files.delete(path);
  }
}
