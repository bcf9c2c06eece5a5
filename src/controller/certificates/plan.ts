import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Pair } from "./issue.ts";

/** The content of the Secret, PEM. */
export interface Certificates {
  /** Every authority that API servers shall trust. */
  readonly ca: string;
  /** The certificate that replicas serve. */
  readonly current: Pair | undefined;
  /** The certificate that they will serve once its authority is trusted everywhere. */
  readonly next: Pair | undefined;
}

/** The wanted certificate, and what is known of the present one's publication. */
export interface PlanOptions {
  readonly now: Date;
  /** Names that the certificate must have. */
  readonly names: readonly string[];
  /** The one of these by which API servers ask: no call succeeds with a certificate that lacks it. */
  readonly host: string;
  readonly lifetimeMs: number;
  /** How long the Secret has been unchanged, with every webhook configuration trusting its authorities. */
  readonly settledMs: number;
}

/** The next step of a rotation. At any time a replica serves only a certificate that every API server has been told to trust. */
export type Step =
  /** No client can verify the current certificate: serve a new one at once. */
  | { readonly kind: "replace"; readonly why: string }
  /** Issue a new certificate and publish its authority; nobody serves it yet. */
  | { readonly kind: "prepare"; readonly why: string }
  /** Serve the prepared certificate from now on. */
  | { readonly kind: "promote" }
  /** Stop trusting authorities whose certificates nobody serves any more. */
  | { readonly kind: "forget" }
  | { readonly kind: "wait"; readonly ms: number };

/** A certificate is renewed when a third of its life is left. */
const leftToRenew = 1 / 3;
const dayMs = 86_400_000;
/** How often a certificate is looked at that is well: the wall clock may jump, and timers stand still in a suspended machine. */
const lookMsMax = 60_000;

/** How long until a published authority counts as trusted everywhere: the longest delay of an API server's watch. */
export const trustMs = (lifetimeMs: number) => Math.min(30_000, lifetimeMs / 12);
/** How long until no replica serves a replaced certificate any more. */
export const forgetMs = (lifetimeMs: number) => Math.min(5 * 60_000, lifetimeMs / 12);

/** Decides the next step from the content of the Secret. Pure. */
export function planCertificates({ ca, current, next }: Certificates, options: PlanOptions): Step {
  const { lifetimeMs, now, settledMs } = options;
  const authorities = readCertificates(ca);
  const flaw = current === undefined ? "there is none" : flawOf(current, authorities, options);
  if (current === undefined || flaw !== undefined) return { kind: "replace", why: flaw ?? "there is none" };
  const waitFor = (ms: number): Step => ({ kind: "wait", ms: Math.max(1, ms) });
  if (
    next !== undefined &&
    flawOf(next, authorities, options) === undefined &&
    reasonToRenew(next, options) === undefined
  ) {
    const leftMs = trustMs(lifetimeMs) - settledMs;
    return leftMs <= 0 ? { kind: "promote" } : waitFor(leftMs);
  }
  const why = reasonToRenew(current, options);
  if (why !== undefined) return { kind: "prepare", why };
  const serving = new X509Certificate(current.cert);
  if (next !== undefined || authorities.some((one) => !hasSigned(one, serving))) {
    const leftMs = forgetMs(lifetimeMs) - settledMs;
    return leftMs <= 0 ? { kind: "forget" } : waitFor(leftMs);
  }
  return waitFor(Math.min(expiryOf(current).getTime() - now.getTime() - lifetimeMs * leftToRenew, lookMsMax));
}

/** Those authorities of the list that signed the certificate. */
export function authoritiesOf(ca: string, { cert }: Pair): string {
  const serving = new X509Certificate(cert);
  return readCertificates(ca)
    .filter((one) => hasSigned(one, serving))
    .map((one) => one.toString())
    .join("");
}

/** When the certificate expires. Throws if it cannot be parsed. */
export function expiryOf({ cert }: Pair): Date {
  return new Date(new X509Certificate(cert).validTo);
}

/** Why clients could not verify a server with this certificate; undefined if they can. */
function flawOf(
  { cert, key }: Pair,
  authorities: readonly X509Certificate[],
  { now, host }: Pick<PlanOptions, "now" | "host">,
): string | undefined {
  try {
    const parsed = new X509Certificate(cert);
    if (!parsed.checkPrivateKey(createPrivateKey(key))) return "its key is that of another one";
    if (new Date(parsed.validTo) <= now) return `it expired at ${parsed.validTo}`;
    // It was issued by a clock that was ahead.
    if (new Date(parsed.validFrom) > now) return `it is not valid before ${parsed.validFrom}`;
    const issuers = authorities.filter((one) => hasSigned(one, parsed));
    if (issuers.length === 0) return "no authority of the list has signed it";
    if (issuers.every((one) => new Date(one.validTo) <= now)) return "its authority expired";
    // The release has another controller by name than the one that issued it.
    if (parsed.checkHost(host) === undefined) return `it is not for ${host}`;
    return undefined;
  } catch (error) {
    return `it cannot be read: ${(error as Error).message}`;
  }
}

function reasonToRenew(pair: Pair, { now, names, lifetimeMs }: PlanOptions): string | undefined {
  const parsed = new X509Certificate(pair.cert);
  const missing = names.filter((name) =>
    isIP(name) === 0 ? parsed.checkHost(name) === undefined : parsed.checkIP(name) === undefined,
  );
  if (missing.length > 0) return `it is not for ${missing.join(", ")}`;
  const leftMs = expiryOf(pair).getTime() - now.getTime();
  if (leftMs < lifetimeMs * leftToRenew) return `it expires at ${parsed.validTo}`;
  return leftMs > lifetimeMs + dayMs ? "it lives longer than it is to" : undefined;
}

function hasSigned(authority: X509Certificate, cert: X509Certificate): boolean {
  return cert.checkIssued(authority) && cert.verify(authority.publicKey);
}

function readCertificates(pem: string): readonly X509Certificate[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.flatMap((one) => {
    try {
      return [new X509Certificate(one)];
    } catch {
      return []; // An unreadable list contains no authority.
    }
  });
}
