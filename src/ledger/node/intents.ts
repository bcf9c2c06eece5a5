import { mkdirSync, readdirSync } from "node:fs";
import { readIfThere, removeFile, writeState, writeStateFile } from "#base";

/**
 * Which claims this node has or may have made: one file for each (Pod UID, NIC, family), with the name of the claim. A file is
 * written before the create is sent and removed when the claim is known to be gone. So an agent that was killed at any time in
 * between finds its claims. The files are on tmpfs; after a reboot, sandbox records name the claims that remain.
 */
export class Intents {
  readonly #folder: string;
  /** What this process wrote, as a cache. Files of a previous agent, which may still be ending, are not in it. */
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
    // A file is empty if the agent was killed before it wrote the name, and so before it sent anything.
    return this.#written.get(key) ?? (readIfThere(this.#path(key))?.toString("utf8") || undefined);
  }

  remove(key: string): void {
    this.#written.delete(key);
    removeFile(this.#path(key));
  }

  /**
   * Adds claims that sandbox records name, before any of these sandboxes can end. A reboot has removed the files, and a DEL
   * removes the record, but the Pod may go on, and the next process must find its claim, too.
   */
  note(claims: Iterable<{ readonly key: string; readonly name: string }>): void {
    for (const { key, name } of claims) if (this.read(key) === undefined) this.write(key, name);
  }

  /** The names of all claims by their keys. */
  all(): ReadonlyMap<string, string> {
    const keys = readdirSync(this.#folder).map(decodeURIComponent);
    return new Map(
      keys.flatMap((key) => {
        const name = this.read(key);
        return name === undefined ? [] : [[key, name]];
      }),
    );
  }

  /** Encoded, because a Pod UID comes from the runtime and must not lead to another folder. */
  #path(key: string): string {
    return `${this.#folder}/${encodeURIComponent(key)}`;
  }
}
