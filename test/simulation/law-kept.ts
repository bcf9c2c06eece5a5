import type { SpiderIPAddressSpec } from "#api";
import type { Change, Server } from "./server.ts";
import { isWanted, statefulTable } from "./stateful.ts";
import { Violation } from "./violation.ts";

interface Told {
  readonly ip: string;
  readonly poolUid: string;
  readonly podName: string;
}

function keyOf(podName: string, nic: string | undefined, ip: string): string {
  return `${podName}/${nic} IPv${ip.includes(":") ? 6 : 4}`;
}

/**
 * What must hold of addresses that outlive their Pods: the next Pod of the name has the address of the former one as long as
 * the StatefulSet wants it and its pool is there, and until then nobody lets it go.
 */
export class KeptLaw {
  readonly #server: Server;
  /** By Pod name, NIC and family: what the last answered ADD told. */
  readonly #told = new Map<string, Told>();

  constructor(server: Server, poolTable: string) {
    this.#server = server;
    server.store.listen(statefulTable, () => this.#forget(({ podName }) => !isWanted(server, podName)));
    server.store.listen(poolTable, ({ type, object }: Change) => {
      const goes = type === "DELETED" || object.metadata.deletionTimestamp !== undefined;
      if (goes) this.#forget(({ poolUid }) => poolUid === object.metadata.uid);
    });
  }

  /** An ADD was answered with the address of this claim. */
  answered(ip: string, { purpose, podName = "", nic, poolUID }: SpiderIPAddressSpec): void {
    if (purpose !== "Sticky") return;
    const key = keyOf(podName, nic, ip);
    const before = this.#told.get(key);
    if (isWanted(this.#server, podName)) this.#told.set(key, { ip, poolUid: poolUID, podName });
    if (before === undefined || before.ip === ip) return;
    throw new Violation("a sticky Pod has its recorded address", `${key} had ${before.ip}, and has ${ip} now`);
  }

  /** The claim was deleted. */
  released(ip: string, { purpose, podName = "", nic }: SpiderIPAddressSpec, by: string): void {
    if (purpose !== "Sticky" || this.#told.get(keyOf(podName, nic, ip))?.ip !== ip) return;
    throw new Violation("a sticky address goes with its owner", `${ip} of ${podName}/${nic} was released by ${by}`);
  }

  /** The address was set aside, because another host has it. */
  setAside(ip: string): void {
    this.#forget((told) => told.ip === ip);
  }

  /** Nothing is known of what was told before. */
  forget(): void {
    this.#told.clear();
  }

  #forget(which: (told: Told) => boolean): void {
    for (const [key, told] of this.#told) if (which(told)) this.#told.delete(key);
  }
}
