import { annotations, readDoubts } from "#api";
import { formatError, type Logger, type Signal } from "#base";
import type { Node, Store } from "#kube";

/** Where the leader's doubts are read, and who checks them. */
interface DoubtsOptions {
  readonly node: string;
  readonly nodes: Store<Node>;
  /** Checks these claims, and acts if necessary. */
  readonly inspect: (names: readonly string[], o: Signal) => Promise<void>;
  readonly log: Logger;
}

/** Checks the claims that the leader names in an annotation of this agent's Node. */
export async function runDoubts({ node, nodes, inspect, log }: DoubtsOptions, { signal }: Signal): Promise<void> {
  const told = (object: Node | undefined) => object?.metadata.annotations?.[annotations.doubts];
  for (let seen: string | undefined; ; ) {
    const now = await nodes.waitFor(node, (object) => told(object) !== undefined && told(object) !== seen, { signal });
    seen = told(now);
    const names = readDoubts(seen ?? "");
    try {
      if (names.length > 0) await inspect(names, { signal });
    } catch (error) {
      signal.throwIfAborted();
      // The leader repeats doubts that persist.
      log.warn({ node, claims: names, err: formatError(error) }, "claims that are in doubt could not be read");
    }
  }
}
