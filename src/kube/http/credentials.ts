import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { type Clock, SpiderError } from "#base";
import { limits } from "../limits.ts";
import type { KubeConfig, Source } from "./config.ts";

/** The credentials for a connection. */
export interface TlsMaterial {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** The credentials with which the next connection and request are made. */
export interface InUse {
  /** The same object as long as nothing changed. */
  readonly tls: TlsMaterial;
  readonly token: string | undefined;
}

/**
 * Token and certificates, read again when their files change: kubelet replaces a projected token long before it
 * expires. Files are looked at once a second at most, and right away after a 401. Reads are synchronous: a few
 * kilobytes, and no thread of the pool is involved.
 *
 * What is found is taken into use as a whole or not at all: certificate and key are two files that are replaced one
 * after the other, and a file may be seen half written. Until it is usable, what was in use before stays.
 */
export class Credentials {
  readonly #clock: Clock;
  readonly #sources: { readonly [K in "ca" | "cert" | "key" | "token"]: WatchedSource | undefined };
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #tls: TlsMaterial | undefined;
  #token: string | undefined;
  /** What was found last and is of no use: not to be tried at every request. */
  #refused: { readonly tls: TlsMaterial; readonly cause: unknown } | undefined;

  constructor(config: KubeConfig, clock: Clock) {
    this.#clock = clock;
    this.#sources = {
      ca: watched(config.ca),
      cert: watched(config.clientCert),
      key: watched(config.clientKey),
      token: watched(config.token),
    };
  }

  /** The credentials for a request. Throws `KUBE_CREDENTIALS` while a file was never readable and usable. */
  get current(): InUse {
    this.#refresh(false);
    return { tls: this.#currentTls(), token: this.#currentToken() };
  }

  /** Looks at the files now: what is in use then, if it is something else than what a request was sent with. */
  newerThan(sent: InUse): InUse | undefined {
    this.#refresh(true);
    const now = this.current;
    return now.token === sent.token && now.tls === sent.tls ? undefined : now;
  }

  #currentTls(): TlsMaterial {
    const { ca, cert, key } = this.#sources;
    const now = { ca: ca?.text, cert: cert?.text, key: key?.text };
    if (this.#tls !== undefined && isSame(now, this.#tls)) return this.#tls;
    if (this.#refused === undefined || !isSame(now, this.#refused.tls)) {
      const cause = refusalOf(now);
      this.#refused = cause === undefined ? undefined : { tls: now, cause };
    }
    if (this.#refused === undefined) this.#tls = now;
    else if (this.#tls === undefined) {
      const paths = [ca, cert, key].flatMap((source) => source?.path ?? []);
      throw unusable("the certificates for the Kubernetes API cannot be used", { paths }, this.#refused.cause);
    }
    return this.#tls;
  }

  #currentToken(): string | undefined {
    const { token: source } = this.#sources;
    if (source === undefined) return undefined;
    const found = source.text.trim();
    // Anything else would make no header, and an empty file is one that is being written.
    if (/^[\x21-\x7e]+$/.test(found)) this.#token = found;
    if (this.#token === undefined)
      throw unusable("a file holds no token for the Kubernetes API", { path: source.path });
    return this.#token;
  }

  #refresh(now: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    if (!now && nowMs - this.#checkedAtMs < limits.credentialCheckMs) return;
    for (const source of Object.values(this.#sources)) source?.refresh();
    this.#checkedAtMs = nowMs;
  }
}

function isSame(one: TlsMaterial, other: TlsMaterial): boolean {
  return one.ca === other.ca && one.cert === other.cert && one.key === other.key;
}

/** Why no connection could be made with these; undefined if one can. */
function refusalOf({ ca, cert, key }: TlsMaterial): unknown {
  try {
    // No CA at all would mean those of the system.
    if (ca !== undefined) new X509Certificate(ca);
    createSecureContext({ ca, cert, key });
    return undefined;
  } catch (error) {
    return error;
  }
}

interface WatchedSource {
  /** Undefined if the text is in the configuration itself. */
  readonly path: string | undefined;
  readonly text: string;
  refresh(): void;
}

function watched(source: Source | undefined): WatchedSource | undefined {
  if (source === undefined) return undefined;
  return source.kind === "file"
    ? new WatchedFile(source.path)
    : { path: undefined, text: source.data, refresh: () => {} };
}

class WatchedFile implements WatchedSource {
  readonly path: string;
  #seen = "";
  #text: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get text(): string {
    return this.#text ?? "";
  }

  /** A file that vanishes for a moment (it is being replaced) keeps its last content. */
  refresh(): void {
    try {
      const { mtimeMs, ino, size } = statSync(this.path);
      const seen = `${mtimeMs} ${ino} ${size}`;
      if (seen === this.#seen) return;
      this.#text = readFileSync(this.path, "utf8");
      this.#seen = seen;
    } catch (cause) {
      if (this.#text !== undefined) return;
      throw unusable("a file with credentials for the Kubernetes API cannot be read", { path: this.path }, cause);
    }
  }
}

function unusable(message: string, details: Readonly<Record<string, unknown>>, cause?: unknown): SpiderError {
  return new SpiderError("KUBE_CREDENTIALS", message, { details, cause });
}
