import { annotations, isLost } from "#api";
import { abortable, type Signal } from "#base";
import { leases, metadataOf, nodes, type ObjectRef, retry } from "#kube";
import type { Deps } from "../deps.ts";

/**
 * What a removal by force left on the Nodes whose Pods run on: it outlives namespaces, kinds and the Lease. It counts where the Lease
 * does not tell yet which ledger was complete, as in a first installation, or one into another namespace.
 */
export class LossMark {
  readonly #known = Promise.withResolvers<void>();
  #value: string | undefined;

  /** A `lostToken`; undefined: there is none, or this is not known yet. */
  get value(): string | undefined {
    return this.#value;
  }

  /** Resolves when it is known. */
  async synced({ signal }: Signal): Promise<void> {
    await abortable(this.#known.promise, signal);
  }

  /** Reads it, once. */
  async run({ client, clock }: Pick<Deps, "client" | "clock">, lease: ObjectRef, { signal }: Signal): Promise<void> {
    const read = async (o: Signal) => {
      const found = await client.get(metadataOf(leases), lease, o);
      if (found?.metadata.annotations?.[annotations.ledgerEpoch] !== undefined) return undefined;
      for await (const { metadata } of client.listAll(metadataOf(nodes), o)) {
        const noted = metadata.annotations?.[annotations.ledgerClosed];
        if (isLost(noted)) return noted;
      }
      return undefined;
    };
    this.#value = await retry(read, { signal, clock, retryable: () => true });
    this.#known.resolve();
  }
}
