import { annotations, isLost } from "#api";
import { abortable, type Signal } from "#base";
import { leases, metadataOf, nodes, type ObjectRef, retry } from "#kube";
import type { Deps } from "../deps.ts";

/**
 * The mark that a forced removal leaves on Nodes whose Pods go on running. It outlives namespaces, kinds and the Lease, and
 * counts as long as the Lease does not record a complete ledger: in a first installation, or in one into another namespace.
 */
export class LossMark {
  readonly #known = Promise.withResolvers<void>();
  #value: string | undefined;

  /** The mark, a `lostToken`; undefined: there is none, or it was not read yet. */
  get value(): string | undefined {
    return this.#value;
  }

  /** Resolves when it has been read. */
  async synced({ signal }: Signal): Promise<void> {
    await abortable(this.#known.promise, signal);
  }

  /** Reads the mark once, with retries. */
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
