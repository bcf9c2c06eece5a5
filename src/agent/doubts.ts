import { annotations, readDoubts } from "#api";
import { formatError, type Logger, type Signal } from "#base";
import type { Node, Store } from "#kube";

export interface DoubtsOptions {
  readonly node: string;
  readonly nodes: Store<Node>;
  /** Looks at these claims, and acts where it must. */
  readonly inspect: (names: readonly string[], o: Signal) => Promise<void>;
  readonly log: Logger;
}

/** What the leader has told this node's agent to look at is looked at: the claims that an annotation of the Node names. */
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
      // What is still so is told again.
      log.warn({ node, claims: names, err: formatError(error) }, "claims that are in doubt could not be read");
    }
  }
}
