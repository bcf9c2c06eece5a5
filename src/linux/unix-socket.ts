import { LinuxError, must } from "./errors.ts";
import { libc } from "./libc.ts";

const familyUnix = 1;
const typeStream = 1;
const eagain = 11;
/** More than most calls need; the rest is read like everything that comes later. */
const waiting = new Uint8Array(new ArrayBuffer(16_384));
const cloexecNonblock = 0o2004000;
/** `sun_path` of `struct sockaddr_un`, with its NUL. */
const pathBytesMax = 108;

/** A stream socket bound to a new file at `path`, not listening yet. Returns its descriptor. Throws LinuxError. */
export function bindUnixSocket(path: string): number {
  const bytes = Buffer.from(`${path}\0`);
  if (bytes.length > pathBytesMax)
    throw new RangeError(`a socket's path has at most ${pathBytesMax - 1} bytes: ${path}`);
  const address = Buffer.alloc(2 + bytes.length);
  address.writeUInt16LE(familyUnix, 0);
  bytes.copy(address, 2);
  const fd = must(libc.socket(familyUnix, typeStream | cloexecNonblock, 0), "make a unix socket");
  try {
    must(libc.bind(fd, address), `bind a unix socket to ${path}`);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** What the system has too little of for one more connection. */
const exhausted: readonly (string | undefined)[] = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"];

/**
 * The next connection that waits at a listening socket, as a descriptor; undefined if none does, or if there is no room for it:
 * it may go on waiting. Throws LinuxError.
 */
export function acceptWaiting(fd: number): number | undefined {
  for (;;) {
    const accepted = libc.accept(fd);
    if (accepted >= 0) return accepted;
    if (accepted === -eagain) return undefined;
    const error = new LinuxError(-accepted, "accept a connection");
    if (exhausted.includes(error.code)) return undefined;
    // The caller went away again while it waited, or a signal came in between.
    if (error.code !== "ECONNABORTED" && error.code !== "EINTR") throw error;
  }
}

/** What has reached a connection that does not block, or undefined if nothing has: its end and its errors are left to others. */
export function readWaiting(fd: number): Buffer | undefined {
  const length = libc.read(fd, waiting);
  return length > 0 ? Buffer.from(waiting.subarray(0, length)) : undefined;
}
