import { type FSWatcher, mkdirSync, statSync, watch } from "node:fs";
import { assertNever, type Clock, formatError, type Logger, type Signal } from "#base";

/** The state of something that must stay as we installed it; `taken`: somebody else changed it, as a sentence says. */
export type Finding =
  | { readonly kind: "right" }
  | { readonly kind: "outdated" }
  | { readonly kind: "taken"; readonly how: string };

/** Something of ours on the node that must stay as we installed it. */
interface Kept {
  /** The folder to watch for changes. */
  readonly folder: string;
  /** Looks, without a repair. */
  readonly look: () => Finding;
  /** Repairs it. Idempotent. */
  readonly put: () => void;
}

interface KeepOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Reports to the administrator what was restored, or cannot be. */
  readonly tell: (sentence: string) => void;
}

/** The second restoration waits this long, each further one twice as long as the previous. */
const firstDelayMs = 500;
const delayMsMax = 60_000;
/** After this long without a change the next restoration is immediate again. */
const calmMs = 5 * 60_000;

/**
 * Keeps it correct until the signal aborts. The kernel reports each change in the folder, so nothing is polled. Restores and
 * reports changes at once; if they repeat, with longer and longer pauses, because another program may do the same with
 * better reason.
 */
export async function keep(kept: Kept, { clock, log, tell }: KeepOptions, { signal }: Signal): Promise<void> {
  const { folder } = kept;
  let fights = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  const restore = async () => {
    const finding = kept.look();
    switch (finding.kind) {
      case "right":
        return;
      case "outdated":
        return kept.put();
      case "taken": {
        if (clock.monotonicMs() - lastMs > calmMs) fights = 0;
        if (fights > 0) await clock.sleep(Math.min(delayMsMax, firstDelayMs * 2 ** (fights - 1)), { signal });
        kept.put();
        fights += 1;
        lastMs = clock.monotonicMs();
        return tell(fights === 1 ? `${finding.how}; restored` : `${finding.how}; restored, ${fights} times by now`);
      }
      default:
        return assertNever(finding);
    }
  };
  while (!signal.aborted) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      using changes = new FolderChanges(folder);
      while (!changes.isOver) {
        await restore();
        await changes.next({ signal });
      }
    } catch (err) {
      if (signal.aborted) return;
      log.error({ folder, err }, "files of ours on the node cannot be kept");
      tell(`cannot write to ${folder}: ${formatError(err)}`);
      await clock.sleep(delayMsMax, { signal }).catch(() => {});
    }
  }
}

/** Reports changes in a folder; ends when the folder itself is removed or replaced. */
class FolderChanges implements Disposable {
  readonly #folder: string;
  readonly #inode: number;
  readonly #watcher: FSWatcher;
  #changed = nextChange();

  constructor(folder: string) {
    this.#folder = folder;
    this.#watcher = watch(folder, { persistent: false }, () => this.#changed.resolve());
    this.#watcher.on("error", (error) => this.#changed.reject(error));
    this.#inode = statSync(folder).ino;
  }

  get isOver(): boolean {
    return statSync(this.#folder, { throwIfNoEntry: false })?.ino !== this.#inode;
  }

  /** Resolves after the next change, or at once if there was one since the last call. Rejects when the signal aborts. */
  async next({ signal }: Signal): Promise<void> {
    const stopped = () => this.#changed.reject(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener("abort", stopped, { once: true });
    try {
      await this.#changed.promise;
    } finally {
      signal.removeEventListener("abort", stopped);
      this.#changed = nextChange();
    }
  }

  [Symbol.dispose](): void {
    this.#watcher.close();
  }
}

/** It may fail while nobody waits for it: whoever asks next hears of it. */
function nextChange(): PromiseWithResolvers<void> {
  const change = Promise.withResolvers<void>();
  change.promise.catch(() => {});
  return change;
}
