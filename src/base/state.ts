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

/** A configuration file larger than this is none. */
const configBytesMax = 1 << 20;

/**
 * A configuration file that somebody else named; undefined if there is none. Throws NOT_A_FILE where reading may never end, as of a
 * device or a pipe, FILE_TOO_LARGE, and system errors.
 */
export function readConfigFile(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  if (!found.isFile()) throw new SpiderError("NOT_A_FILE", `network configuration ${path} is no regular file`);
  if (found.size > configBytesMax) {
    throw new SpiderError(
      "FILE_TOO_LARGE",
      `network configuration ${path} has ${found.size} bytes, ${configBytesMax} are allowed`,
    );
  }
  // A file of the kernel's says that it is empty, and reading it may wait for ever.
  return found.size === 0 ? "" : readIfThere(path)?.toString("utf8");
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
