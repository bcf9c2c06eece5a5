import { readFileSync, statSync, unlinkSync } from "node:fs";
import { codeOf, SpiderError } from "./errors.ts";

/**
 * Writes what a node has to remember before it acts. Throws STATE_NOT_WRITTEN, naming the folder, where the file system does
 * not take it: what is not written down is not begun.
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

/** What the file holds; undefined where there is none, which costs no error and no stack trace. Throws whatever else fails. */
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
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
