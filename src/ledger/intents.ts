import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readIfThere, removeFile, writeState, writeStateFile } from "#base";

/**
 * What this node claims or may have claimed: one file for each (Pod UID, NIC, family), holding the name of the claim.
 * Written before the create is sent and removed when the claim is known to be gone, so that an agent that was killed at
 * any moment in between finds its own claims. On tmpfs: after a reboot sandbox records tell of claims that remained.
 */
export class Intents {
  readonly #folder: string;
  /** What this process wrote, so that it need not read it again. The file of a predecessor that is about to end is only there. */
  readonly #written = new Map<string, string>();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  write(key: string, claimName: string): void {
    writeState(this.#folder, () => writeStateFile(this.#path(key), claimName));
    this.#written.set(key, claimName);
  }

  read(key: string): string | undefined {
    // Empty: the agent was killed before it wrote the name, and so before it sent anything.
    return this.#written.get(key) ?? (readIfThere(this.#path(key))?.toString("utf8") || undefined);
  }

  remove(key: string): void {
    this.#written.delete(key);
    removeFile(this.#path(key));
  }

  /**
   * Notes what sandbox records tell of claims, before the first of those sandboxes can go: a boot took the hints, and a DEL
   * takes the record, but the Pod may live and its claim has to be found by the next process, too.
   */
  note(claims: Iterable<{ readonly key: string; readonly name: string }>): void {
    for (const { key, name } of claims) if (this.read(key) === undefined) this.write(key, name);
  }

  /** All of them: the claim's name by its key. */
  all(): ReadonlyMap<string, string> {
    const keys = readdirSync(this.#folder).map(decodeURIComponent);
    return new Map(
      keys.flatMap((key) => {
        const name = this.read(key);
        return name === undefined ? [] : [[key, name]];
      }),
    );
  }

  /** Pod UIDs come from the runtime: nothing in one may name another folder. */
  #path(key: string): string {
    return join(this.#folder, encodeURIComponent(key));
  }
}
