import { uninstallAnnotation } from "#api";
import { type DaemonSet, keyOf, type Store } from "#kube";

/**
 * Tells an agent that ends because the release goes from one that ends for any other reason (an upgrade, an eviction, a
 * restart): its DaemonSet was there and is gone, is being deleted, or is marked. In doubt the release stays.
 */
export class Release {
  readonly #daemonSets: Store<DaemonSet>;
  readonly #key: string;
  #wasThere: boolean;

  constructor(daemonSets: Store<DaemonSet>, ref: { readonly namespace: string; readonly name: string }) {
    this.#daemonSets = daemonSets;
    this.#key = keyOf(ref);
    this.#wasThere = daemonSets.get(this.#key) !== undefined;
    daemonSets.changed((key, now) => {
      if (key === this.#key && now !== undefined) this.#wasThere = true;
    });
  }

  /** How many nodes have an agent, or are to have one; undefined while that is not known. */
  get nodes(): number | undefined {
    return this.#daemonSets.get(this.#key)?.status?.desiredNumberScheduled;
  }

  get isGoing(): boolean {
    const found = this.#daemonSets.get(this.#key);
    if (found === undefined) return this.#wasThere;
    const { deletionTimestamp, annotations } = found.metadata;
    return deletionTimestamp !== undefined || annotations?.[uninstallAnnotation] === "true";
  }
}
