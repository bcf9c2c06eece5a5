import type { Clock, Logger, Signal } from "#base";
import { decodeResult } from "#cni";
import { claimName } from "#ip";
import { fromStore, type Pod, retry, runController, type Store } from "#kube";
import type { Claim, Ledger } from "#ledger";
import { isPodAlive, isPodUid } from "./pods.ts";
import { isSandboxThere, type Records, type SandboxRecord } from "./records.ts";

/** The ledger's claims of this node are compared with what is known here after a random part of this, then hourly. */
const firstAuditMsMax = 300_000;
const auditEveryMs = 3_600_000;

export interface ClaimsOptions {
  readonly ledger: Ledger;
  readonly records: Records;
  readonly pods: Store<Pod>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Ends claims whose Pod and sandbox are gone. A DEL of a living Pod leaves its claims alone; the Pod's own end, seen here,
 * releases them. Level-triggered: what was missed while the agent was away is found when it is back.
 */
export class ClaimsReconciler {
  readonly #options: ClaimsOptions;
  #poke: (podKey: string) => void = () => {};

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Look at this Pod's claims again: a sandbox of it is gone. */
  poke(podKey: string): void {
    this.#poke(podKey);
  }

  run(o: Signal): Promise<void> {
    const { pods, clock, log } = this.#options;
    return runController(
      {
        name: "claims",
        clock,
        log,
        sources: [
          fromStore(pods),
          {
            synced: () => Promise.resolve(),
            subscribe: (add) => {
              this.#poke = add;
              return () => {
                this.#poke = () => {};
              };
            },
          },
        ],
        reconcile: async (key) => {
          this.#reconcile(key);
          return {};
        },
      },
      o,
    );
  }

  /** After a start: takes up the claims that the records name; later, and then hourly, looks for claims that nobody knows. */
  async recallAndAudit({ signal }: Signal): Promise<void> {
    const { ledger, records, clock } = this.#options;
    // Until it has succeeded no ADD gets an address.
    await retry((o) => ledger.recall(claimNames(records.list()), o), { signal, clock, retryable: () => true });
    for (const { spec } of ledger.claims()) this.poke(`${spec.podNamespace}/${spec.podName}`);
    for (let waitMs = Math.random() * firstAuditMsMax; ; waitMs = auditEveryMs) {
      await clock.sleep(waitMs, { signal });
      await retry((o) => ledger.audit(new Set(claimNames(records.list())), o), { signal, clock });
    }
  }

  #reconcile(podKey: string): void {
    const { ledger, pods } = this.#options;
    const pod = pods.get(podKey);
    for (const claim of ledger.claims()) {
      if (`${claim.spec.podNamespace}/${claim.spec.podName}` !== podKey) continue;
      if (pod !== undefined && isPodUid(pod, claim.spec.podUID ?? "") && isPodAlive(pod)) continue;
      if (this.#hasSandbox(claim)) continue;
      const seen =
        pod === undefined ? "the Pod is gone" : `Pod ${pod.metadata.uid} is ${pod.status?.phase ?? "terminating"}`;
      ledger.release(claim, { why: "Pod and sandbox are gone", evidence: [seen] });
    }
  }

  /** Its DEL has not come yet, and its namespace is there: the address is still in use. */
  #hasSandbox({ spec }: Claim): boolean {
    return this.#options.records
      .list()
      .some((record) => record.containerId === spec.containerID && isSandboxThere(record));
  }
}

function claimNames(records: readonly SandboxRecord[]): readonly string[] {
  return records.flatMap(({ networks }) =>
    networks.flatMap(({ result }) =>
      result === undefined ? [] : decodeResult(result).ips.map(({ address }) => claimName(address.ip)),
    ),
  );
}
