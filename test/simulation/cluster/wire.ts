import { type Machine, macOf } from "./machine.ts";

/** The segment that all machines are on, and others, too. */
export class Wire {
  readonly #machines: readonly Machine[];
  /** Hosts that are not ours, by the address that they answer for: since when. */
  readonly foreign = new Map<string, number>();

  constructor(machines: readonly Machine[]) {
    this.#machines = machines;
  }

  /** Asks who has the address, on behalf of a sandbox that would not answer itself: a MAC address; undefined: silence. */
  ask(ip: string, by: { readonly containerId: string }): string | undefined {
    if (this.foreign.has(ip)) return "02:00:5e:00:00:01";
    for (const machine of this.#machines) {
      for (const { namespace, ip: used } of machine.answering()) {
        if (used === ip && namespace.containerId !== by.containerId) return macOf(namespace.containerId);
      }
    }
    return undefined;
  }
}
