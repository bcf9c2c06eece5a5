import {
  abortable,
  backoffMs,
  type Clock,
  formatError,
  type Logger,
  type Signal,
  SpiderError,
  withTimeout,
} from "#base";
import { Cache } from "./cache.ts";
import { Connection } from "./connection.ts";
import { parseEndpoint } from "./endpoint.ts";
import { limits } from "./limits.ts";
import { explainMirror, planMirror, planUnmirror } from "./mirrors.ts";
import { explainAttach, explainDetach, planAttach, planDetach } from "./ports.ts";
import { monitored } from "./row-updates.ts";
import { TransactionQueue } from "./transactions.ts";
import type { BridgeInfo, MirrorRole, Ovs, OvsMirror, OvsPort, OvsState, PortSpec, PortsToDetach } from "./types.ts";

interface OvsOptions {
  /** `unix:/var/run/openvswitch/db.sock`, a bare absolute path, or `tcp:host:port`. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a call waits for a database from which nothing is heard. @default 5000 */
  readonly patienceMs?: number;
}

/**
 * Connects in the background and stays connected until disposed of.
 *
 * @throws SpiderError OVSDB_ENDPOINT when the endpoint is not understood
 */
export function createOvs(options: OvsOptions): Ovs & AsyncDisposable {
  return new Client(options);
}

const database = "Open_vSwitch";

class Client implements Ovs, AsyncDisposable {
  readonly #options: OvsOptions;
  readonly #to: ReturnType<typeof parseEndpoint>;
  readonly #patienceMs: number;
  readonly #queue: TransactionQueue;
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #cache = new Cache();
  #connection: Connection | undefined;
  /** When the database was last heard of. */
  #heardMs = Number.NEGATIVE_INFINITY;
  #state: OvsState = { kind: "disconnected", error: "not connected yet", attempts: 0 };

  constructor(options: OvsOptions) {
    this.#options = options;
    this.#to = parseEndpoint(options.endpoint);
    this.#patienceMs = options.patienceMs ?? limits.patienceMs;
    this.#queue = new TransactionQueue({
      limit: (signal) => this.#limit(signal),
      late: (reason) => this.#lateError(reason),
    });
    this.#running = this.#run();
  }

  get state(): OvsState {
    return this.#state;
  }

  ports(): ReadonlyMap<string, OvsPort> {
    return this.#cache.ports();
  }

  get portCount(): number {
    return this.#cache.portCount;
  }

  bridges(): ReadonlyMap<string, BridgeInfo> {
    return this.#cache.bridges();
  }

  mirrors(): readonly OvsMirror[] {
    return this.#cache.mirrors();
  }

  changed(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async synced({ signal }: Signal): Promise<void> {
    using limit = this.#limit(signal);
    await this.#until(() => this.#state.kind === "connected" || undefined, limit);
  }

  attach(spec: PortSpec, options: Signal): Promise<void> {
    const plan = (id: number) => planAttach(this.#cache, spec, id);
    return this.#queue.run({ plan, explain: (refusal) => explainAttach(this.#cache, spec, refusal) }, options);
  }

  async ready(name: string, { signal }: Signal): Promise<OvsPort> {
    const working = () => {
      const port = this.#cache.port(name);
      return port?.ofport !== undefined && port.ofport > 0 ? port : undefined;
    };
    try {
      return await this.#until(working, signal);
    } catch (cause) {
      const port = this.#cache.port(name);
      if (this.#state.kind === "disconnected") throw cause;
      throw new SpiderError("OVS_PORT_NOT_READY", "Open vSwitch has not brought the port into service in time", {
        details: {
          port: name,
          bridge: port?.bridge ?? "none",
          vswitchd: port?.error ?? "has not answered",
          fix: "see whether ovs-vswitchd runs and its log: systemctl status ovs-vswitchd",
        },
        cause,
      });
    }
  }

  detach(which: PortsToDetach, options: Signal): Promise<readonly string[]> {
    const plan = () => planDetach(this.#cache, which);
    return this.#queue.run({ plan, explain: (refusal) => explainDetach(which, refusal) }, options);
  }

  mirror(role: MirrorRole, options: Signal): Promise<void> {
    const plan = (id: number) => planMirror(this.#cache, role, id);
    return this.#queue.run({ plan, explain: (refusal) => explainMirror(role, refusal) }, options);
  }

  unmirror(role: MirrorRole, options: Signal): Promise<void> {
    const plan = () => planUnmirror(this.#cache, role);
    return this.#queue.run({ plan, explain: (refusal) => explainMirror(role, refusal) }, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stopped = new SpiderError("OVSDB_STOPPED", "the connection to Open vSwitch's database was closed");
    this.#stop.abort(stopped);
    this.#connection?.close(stopped);
    this.#queue.close(stopped);
    await this.#running;
  }

  /** Connects, follows the monitor until the connection ends, and starts over, until disposed of. */
  async #run(): Promise<void> {
    const { endpoint, clock, log } = this.#options;
    const { signal } = this.#stop;
    for (let attempts = 1; ; attempts++) {
      try {
        const connection = await this.#connect();
        attempts = 1;
        log.info({ endpoint }, "connected to Open vSwitch's database");
        throw await connection.closed;
      } catch (err) {
        if (attempts === 1 && !signal.aborted) log.warn({ endpoint, err }, "no connection to Open vSwitch's database");
        this.#queue.use(undefined);
        this.#setState({ kind: "disconnected", error: formatError(err), attempts });
      }
      try {
        const waitMs = backoffMs(attempts, { firstMs: limits.reconnectFirstMs, maxMs: limits.reconnectMaxMs });
        await clock.sleep(waitMs, { signal });
      } catch {
        return; // Disposed of.
      }
    }
  }

  async #connect(): Promise<Connection> {
    const early: unknown[] = [];
    let cache: Cache | undefined;
    const onNotification = (method: string, [, updates]: readonly unknown[]) => {
      if (method !== "update2") return;
      if (cache === undefined) early.push(updates);
      else {
        cache.apply(updates);
        this.#notify();
      }
    };
    const onHeard = () => {
      this.#heardMs = this.#options.clock.monotonicMs();
    };
    using limit = withTimeout(this.#stop.signal, limits.answerMs, () => new Error("connecting took too long"));
    const connection = await Connection.open(this.#to, { onNotification, onHeard }, { signal: limit });
    try {
      const snapshot = await abortable(connection.call("monitor_cond", [database, "ports", monitored]), limit);
      cache = new Cache();
      for (const updates of [snapshot, ...early]) cache.apply(updates);
    } catch (error) {
      connection.close(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    this.#cache = cache;
    this.#connection = connection;
    this.#queue.use((operations) => connection.call("transact", [database, ...operations]));
    this.#setState({ kind: "connected" });
    return connection;
  }

  #setState(state: OvsState): void {
    this.#state = state;
    this.#notify();
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (err) {
        this.#options.log.error({ err }, "a listener for changes of Open vSwitch failed");
      }
    }
  }

  /** Waits for `look` to find something, looking again after every change. */
  async #until<T>(look: () => T | undefined, signal: AbortSignal): Promise<T> {
    const found = Promise.withResolvers<T>();
    const check = () => {
      const value = look();
      if (value !== undefined) found.resolve(value);
    };
    const unsubscribe = this.changed(check);
    check();
    try {
      return await abortable(found.promise, signal);
    } catch (reason) {
      throw this.#lateError(reason);
    } finally {
      unsubscribe();
    }
  }

  /** Patience counts from when the database was last heard of: in a crowd a call's turn may well come later than that. */
  #limit(signal: AbortSignal): AbortSignal & Disposable {
    const { clock, endpoint } = this.#options;
    const silent = () =>
      new SpiderError("OVSDB_SILENT", "Open vSwitch's database did not answer in time", {
        details: {
          endpoint,
          waited: `${this.#patienceMs} ms`,
          fix: "see what keeps ovsdb-server busy on this node; the call is tried again",
        },
      });
    const leftMs = () => this.#heardMs + this.#patienceMs - clock.monotonicMs();
    return withTimeout(signal, this.#patienceMs, silent, { clock, leftMs });
  }

  #lateError(reason: unknown): unknown {
    if (this.#stop.signal.aborted) return this.#stop.signal.reason;
    if (this.#state.kind === "connected") return reason;
    const { endpoint } = this.#options;
    // Leaves out how often it was tried: Events with different texts are not counted as one.
    const { error } = this.#state;
    return new SpiderError("OVSDB_UNREACHABLE", "cannot reach Open vSwitch's database on this node", {
      details: {
        endpoint,
        tried: `to connect: ${error}`,
        fix: "see whether Open vSwitch runs (systemctl status openvswitch-switch) and whether this is its socket (socket_file)",
      },
      cause: reason,
    });
  }
}
