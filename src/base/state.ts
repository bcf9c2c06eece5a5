import { readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { codeOf, SpiderError } from "./errors.ts";

/**
 * Writes state that a node must remember before it acts. Throws STATE_NOT_WRITTEN, naming the folder, if the write fails, so that
 * the caller does not begin.
 */
export function writeState(folder: string, write: () => void): void {
  try {
    write();
  } catch (cause) {
    throw new SpiderError("STATE_NOT_WRITTEN", "what this node has to remember of the Pod cannot be written", {
      details: { folder, fix: "see whether its file system is full or read-only: df, mount" },
      cause,
    });
  }
}

/** The whole of a file that only root reads. Node writes it by one call of its own where the encoding is named. */
export function writeStateFile(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600, encoding: "utf8" });
}

/** The file's content; undefined if there is no file, without the cost of an error. Throws other system errors. */
export function readIfThere(path: string): Buffer | undefined {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Removes a file that is usually there; one that is not is success. `rmSync` asks twice what it is before. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    // A file system that is read-only refuses before it looks whether there is anything.
    const isGone = codeOf(error) === "EROFS" && statSync(path, { throwIfNoEntry: false }) === undefined;
    if (codeOf(error) !== "ENOENT" && !isGone) throw error;
  }
}
