import { type Logger, systemClock } from "#base";
import { createOvs, type Ovs } from "#ovsdb";

const clock = systemClock;

/** One connection for each database that a configuration names; in practice there is one. */
export class OvsClients implements AsyncDisposable {
  readonly #usual: string;
  readonly #log: Logger;
  readonly #clients = new Map<string, Ovs & AsyncDisposable>();
  readonly #watchers: ((ovs: Ovs) => void)[] = [];

  constructor(usual: string, log: Logger) {
    this.#usual = usual;
    this.#log = log;
  }

  get(endpoint: string = this.#usual): Ovs {
    const found = this.#clients.get(endpoint);
    if (found !== undefined) return found;
    const made = createOvs({ endpoint, clock, log: this.#log });
    this.#clients.set(endpoint, made);
    for (const watch of this.#watchers) watch(made);
    return made;
  }

  /** The existing clients. */
  list(): readonly Ovs[] {
    return [...this.#clients.values()];
  }

  /** Calls `watch` for each client: now for the existing ones, later for each new one. */
  each(watch: (ovs: Ovs) => void): void {
    for (const ovs of this.#clients.values()) watch(ovs);
    this.#watchers.push(watch);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ovs of this.#clients.values()) await ovs[Symbol.asyncDispose]();
  }
}
