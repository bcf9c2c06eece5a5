import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "#base";

/**
 * Hints of creates whose outcome may be unknown: one file for each (Pod UID, NIC, family), holding the name of the claim.
 * Written before the request and removed when the outcome is certain and kept elsewhere, so that an agent that was killed
 * in between finds its own claim. On tmpfs: after a reboot there is no sandbox to whom it could matter.
 */
export class Intents {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  write(key: string, claimName: string): void {
    writeFileSync(this.#path(key), claimName, { mode: 0o600 });
  }

  read(key: string): string | undefined {
    try {
      return readFileSync(this.#path(key), "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  remove(key: string): void {
    rmSync(this.#path(key), { force: true });
  }

  /** The names of all claims that may be on their way. */
  names(): ReadonlySet<string> {
    return new Set(readdirSync(this.#folder).flatMap((key) => this.read(key) ?? []));
  }

  /** Pod UIDs come from the runtime: nothing in one may name another folder. */
  #path(key: string): string {
    return join(this.#folder, encodeURIComponent(key));
  }
}
