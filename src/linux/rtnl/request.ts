import type { Request } from "../netlink/channel.ts";

/** An interface by name or by index. A name costs one small request where the message needs an index, once per batch. */
export type LinkRef = string | number;

/** A request that changes something. */
export type Operation = Request;

/** Codes that count as success for one operation. */
export type Tolerance = Pick<Request, "tolerate">;

/** What encoders need to know about the namespace of the request. */
export interface Encoding {
  /** Index of a link; throws LinuxError ENODEV if there is none of that name. */
  indexOf(link: LinkRef): number;
}

/** Message types of <linux/rtnetlink.h>. */
export const types = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  getRule: 34,
  getNetconf: 82,
  newNetnsId: 88,
  getNetnsId: 90,
} as const;

/** The name of a link for error messages: `eth0`, or `#7` if only its index is known. */
export function linkText(link: LinkRef): string {
  return typeof link === "number" ? `#${link}` : link;
}

const afInet = 2;
const afInet6 = 10;

/** The address family number of Linux for ours. */
export function afOf(family: 4 | 6): number {
  return family === 4 ? afInet : afInet6;
}

/** The reverse; undefined for other families. */
export function familyOf(af: number): 4 | 6 | undefined {
  if (af === afInet) return 4;
  return af === afInet6 ? 6 : undefined;
}
