import { CniError, cniCodes } from "./errors.ts";

/** The versions that our plugins speak, oldest first. */
export const supportedVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
/** The newest version that our plugins speak. */
export const latestVersion = "1.1.0";

/** The versions that results can be read and written in. Foreign plugins may be older than ours. */
export const resultVersions = ["0.1.0", "0.2.0", ...supportedVersions] as const;
/** A version that a result may have. */
export type ResultVersion = (typeof resultVersions)[number];

/** The version of a configuration that names none (specification 0.1.0, "cniVersion"). */
export const impliedVersion = "0.1.0";

const numbers = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;

/** Negative if `a` is older than `b`, 0 if they are equal, positive if it is newer. Throws CniError 7 if one is not x.y.z. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [split(a), split(b)];
  return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
}

function split(version: string): readonly [number, number, number] {
  const match = numbers.exec(version);
  if (match === null) {
    throw new CniError(cniCodes.invalidConfig, "invalid cniVersion", { details: { found: version, allowed: "x.y.z" } });
  }
  return [Number(match[1]), Number(match[2]), Number(match[3])];
}

/** What came with a later version of the specification: verbs, and the result of ADD that a DEL gets. */
const sinceVersion = { CHECK: "0.4.0", "result at DEL": "0.4.0", STATUS: "1.1.0", GC: "1.1.0" } as const;
/** A part of the specification that older versions do not have. */
type LaterPart = keyof typeof sinceVersion;

/** The first version that has the verb; undefined for one that is as old as the protocol, or unknown. */
export function firstVersionOf(verb: string): string | undefined {
  return Object.hasOwn(sinceVersion, verb) ? sinceVersion[verb as LaterPart] : undefined;
}

/** Whether this version of the specification has the part. */
export function versionHas(cniVersion: string, part: LaterPart): boolean {
  return compareVersions(cniVersion, sinceVersion[part]) >= 0;
}

/** The answer to VERSION. */
export function versionDocument(): { readonly cniVersion: string; readonly supportedVersions: readonly string[] } {
  return { cniVersion: latestVersion, supportedVersions };
}
