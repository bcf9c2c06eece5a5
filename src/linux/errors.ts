import { constants } from "node:os";
import { SpiderError } from "#base";
import { libc } from "./libc.ts";

/** Two numbers have two names each: these are the ones that the manual pages use. */
const preferredNames: Readonly<Record<number, string>> = { 11: "EAGAIN", 95: "EOPNOTSUPP" };

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** `EEXIST` for 17. */
export function errnoName(errno: number): string {
  return preferredNames[errno] ?? names.get(errno) ?? `E${errno}`;
}

/**
 * A system call or netlink request that the kernel refused. `code` is the errno's name (`EEXIST`); the message says what
 * was attempted on which object, then the kernel's own text: `add route 10.0.0.0/8 dev eth0 in /run/netns/x: File exists`.
 */
export class LinuxError extends SpiderError {
  readonly errno: number;
  /** What was attempted on which object, without the kernel's text. */
  readonly attempted: string;
  /** The kernel's extended acknowledgement, if it sent one. */
  readonly extendedText: string | undefined;

  constructor(
    errno: number,
    attempted: string,
    extendedText?: string,
    details: Readonly<Record<string, unknown>> = {},
  ) {
    const text = extendedText === undefined ? "" : ` (${extendedText})`;
    super(errnoName(errno), `${attempted}: ${libc.strerror(errno)}${text}`, { details });
    this.name = "LinuxError";
    this.errno = errno;
    this.attempted = attempted;
    this.extendedText = extendedText;
  }
}

/** Returns what a Libc call returned; throws LinuxError if that is an error. */
export function must(returned: number, attempted: string): number {
  if (returned < 0) throw new LinuxError(-returned, attempted);
  return returned;
}
