import { CniError, cniCodes } from "./errors.ts";

const word = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const ifNameBytesMax = 15; // IFNAMSIZ less the final zero

/** Checks a container ID, which becomes part of file names and database keys. Throws CniError 4. */
export function checkContainerId(id: string): void {
  if (!word.test(id))
    throw new CniError(cniCodes.invalidEnvironment, "invalid characters in containerID", { text: id });
}

/**
 * Checks an interface name by the kernel's rules (dev_valid_name in net/core/dev.c) and, beyond them, for names that the kernel
 * takes for something else. Throws CniError 4.
 */
export function checkIfName(name: string): void {
  const fault = ifNameFault(name);
  if (fault !== undefined) throw new CniError(cniCodes.invalidEnvironment, `interface name ${fault}`, { text: name });
}

/** What is wrong with an interface name, as the end of a sentence; undefined if nothing is. */
export function ifNameFault(name: string): string | undefined {
  if (name === "") return "is empty";
  if (Buffer.byteLength(name) > ifNameBytesMax) return "is too long";
  if (name === "." || name === "..") return "is . or ..";
  if (/[/:\s]/.test(name)) return "contains / or : or whitespace characters";
  if (!/^[!-~]+$/.test(name)) return "contains characters other than those of ASCII";
  if (name.includes("%")) return "contains %, with which the kernel chooses a name of its own";
  if (name === "all" || name === "default") return "is that of the kernel's settings for all interfaces";
  return undefined;
}

/** Returns the name of a network, which becomes part of file names, if it is valid. Throws CniError 7. */
export function checkNetworkName(name: unknown): string {
  if (name === undefined || name === null || name === "") {
    throw new CniError(cniCodes.invalidConfig, "missing network name");
  }
  if (typeof name !== "string" || !word.test(name)) {
    throw new CniError(cniCodes.invalidConfig, "invalid characters found in network name", {
      text: JSON.stringify(name),
    });
  }
  return name;
}
