import { type Logger, systemClock } from "#base";
import { createOvs, type Ovs } from "#ovsdb";

const clock = systemClock;

/** One connection for each database that a configuration names; in practice there is one. */
export class OvsClients implements AsyncDisposable {
  readonly #usual: string;
  readonly #log: Logger;
  readonly #clients = new Map<string, Ovs & AsyncDisposable>();

  constructor(usual: string, log: Logger) {
    this.#usual = usual;
    this.#log = log;
  }

  get(endpoint: string = this.#usual): Ovs {
    const found = this.#clients.get(endpoint) ?? createOvs({ endpoint, clock, log: this.#log });
    this.#clients.set(endpoint, found);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ovs of this.#clients.values()) await ovs[Symbol.asyncDispose]();
  }
}
