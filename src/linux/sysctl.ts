import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { codeOf } from "#base";
import { LinuxError } from "./errors.ts";
import { libc } from "./libc.ts";
import type { Netns } from "./netns.ts";

/**
 * A network setting of a namespace. The key is the path below /proc/sys, with slashes because interface names may have
 * dots: `net/ipv4/conf/eth0.100/rp_filter`. undefined if the kernel has no such key. Up to 0.5 ms with many namespaces.
 */
export function readSysctl(netns: Netns, key: string): string | undefined {
  return access(netns, key, "read", (file) => readFileSync(file, "utf8").trimEnd());
}

/** Sets it. Returns false if the kernel has no such key; throws LinuxError (`EINVAL`) for a value that it refuses. */
export function writeSysctl(netns: Netns, key: string, value: string | number): boolean {
  // Opened here and not while the thread is in the namespace: a socket keeps the namespace in which it was made.
  const socket = lockSocket();
  const written = access(netns, key, "write", (file) => {
    const fd = openSync(file, "r+");
    try {
      awaitNetworkLock(socket);
      writeFileSync(fd, `${value}`);
    } finally {
      closeSync(fd);
    }
    return "";
  });
  return written !== undefined;
}

const [afInet, datagramCloexec] = [2, 2 | 0o2000000];
/** SIOCSIFTXQLEN with a `struct ifreq` that asks loopback for a queue of -1, which the kernel refuses. */
const setQueueLength = 0x8943;
const refused = Buffer.alloc(40);
refused.write("lo", "latin1");
refused.writeInt32LE(-1, 16);
let socketMade: number | undefined;

/** The one of this process. */
function lockSocket(): number {
  socketMade ??= libc.socket(afInet, datagramCloexec, 0);
  return socketMade;
}

/**
 * Waits until nobody changes the network. Some settings can only be written at such a moment: otherwise the kernel restarts
 * the write again and again, which keeps a processor busy. A request that needs the same lock and changes nothing sleeps
 * instead.
 */
function awaitNetworkLock(socket: number): void {
  libc.ioctl(socket, setQueueLength, refused);
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
