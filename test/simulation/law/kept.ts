import type { SpiderIPAddressSpec } from "#api";
import type { Change, Server } from "../cluster/server.ts";
import { isWanted, statefulTable } from "../cluster/stateful.ts";
import { isOfVirtual, isVirtualThere, virtualTable } from "../cluster/virtual.ts";
import { Violation } from "./violation.ts";

interface Told {
  readonly ip: string;
  readonly poolUid: string;
  readonly spec: SpiderIPAddressSpec;
}

/** For whom an address is kept: a Pod's name, or the virtual machine. */
export function keeperOf(spec: SpiderIPAddressSpec): string {
  return isOfVirtual(spec) ? "the virtual machine" : (spec.podName ?? "");
}

function keyOf(spec: SpiderIPAddressSpec, ip: string): string {
  return `${keeperOf(spec)}/${spec.nic} IPv${ip.includes(":") ? 6 : 4}`;
}

function isKept(server: Server, spec: SpiderIPAddressSpec): boolean {
  return isOfVirtual(spec) ? isVirtualThere(server) : isWanted(server, spec.podName ?? "");
}

/**
 * What must hold of addresses that outlive their Pods: the next Pod of the name has the address of the former one as long as
 * the StatefulSet or the virtual machine wants it and its pool is there, and until then nobody lets it go.
 */
export class KeptLaw {
  readonly #server: Server;
  /** By Pod name, NIC and family: what the last answered ADD told. */
  readonly #told = new Map<string, Told>();

  constructor(server: Server, poolTable: string) {
    this.#server = server;
    for (const table of [statefulTable, virtualTable]) {
      server.store.listen(table, () => this.#forget(({ spec }) => !isKept(server, spec)));
    }
    server.store.listen(poolTable, ({ type, object }: Change) => {
      const goes = type === "DELETED" || object.metadata.deletionTimestamp !== undefined;
      if (goes) this.#forget(({ poolUid }) => poolUid === object.metadata.uid);
    });
  }

  /** An ADD was answered with the address of this claim. */
  answered(ip: string, spec: SpiderIPAddressSpec): void {
    if (spec.purpose !== "Sticky") return;
    const key = keyOf(spec, ip);
    const before = this.#told.get(key);
    if (isKept(this.#server, spec)) this.#told.set(key, { ip, poolUid: spec.poolUID, spec });
    if (before === undefined || before.ip === ip) return;
    throw new Violation("a sticky Pod has its recorded address", `${key} had ${before.ip}, and has ${ip} now`);
  }

  /** The claim was deleted. */
  released(ip: string, spec: SpiderIPAddressSpec, by: string): void {
    const key = keyOf(spec, ip);
    if (spec.purpose !== "Sticky" || this.#told.get(key)?.ip !== ip) return;
    throw new Violation("a sticky address goes with its owner", `${ip} of ${key} was released by ${by}`);
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
