import { uninstallAnnotation } from "#api";
import { type DaemonSet, keyOf, type Store } from "#kube";

/**
 * Tells whether the agent ends because the release is being removed, and not for another reason (an upgrade, an eviction, a
 * restart): its DaemonSet existed and is gone, is being deleted, or is marked. In doubt the release stays.
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

  /** How many nodes have an agent, or should have one; undefined while unknown. */
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
