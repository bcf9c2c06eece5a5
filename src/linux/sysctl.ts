import { readFileSync, writeFileSync } from "node:fs";
import { codeOf } from "#base";
import { LinuxError } from "./errors.ts";
import type { Netns } from "./netns.ts";

/**
 * A network setting of a namespace. The key is the path below /proc/sys, with slashes because interface names may have
 * dots: `net/ipv4/conf/eth0.100/rp_filter`. undefined where the kernel has no such key. Up to 0.5 ms with many namespaces.
 */
export function readSysctl(netns: Netns, key: string): string | undefined {
  return access(netns, key, "read", (file) => readFileSync(file, "utf8").trimEnd());
}

/** Sets it. Returns false where the kernel has no such key; throws LinuxError (`EINVAL`) for a value that it refuses. */
export function writeSysctl(netns: Netns, key: string, value: string | number): boolean {
  const written = access(netns, key, "write", (file) => {
    writeFileSync(file, `${value}`, { flag: "r+" });
    return "";
  });
  return written !== undefined;
}

/** The files show the namespace of the thread that opens them. */
function access(netns: Netns, key: string, what: string, act: (file: string) => string): string | undefined {
  if (!/^net(\/[^/\0]+)+$/.test(key) || key.split("/").includes("..")) {
    throw new RangeError(`a network setting is a path that starts with "net/": ${key}`);
  }
  try {
    return netns.enter(() => act(`/proc/sys/${key}`));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    throw new LinuxError(-errno, `${what} setting ${key} in ${netns.path}`);
  }
}
