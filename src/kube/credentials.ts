import { readFileSync, statSync } from "node:fs";
import { type Clock, SpiderError } from "#base";
import type { KubeConfig, Source } from "./config.ts";
import { limits } from "./limits.ts";

/** What a connection needs, as it is now. */
export interface TlsMaterial {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/**
 * Token and certificates, read again when their files change: kubelet replaces a projected token long before it
 * expires. Files are looked at once a second at most, and right away after a 401. Reads are synchronous: a few
 * kilobytes, and no thread of the pool is involved.
 */
export class Credentials {
  readonly #clock: Clock;
  readonly #sources: { readonly [K in "ca" | "cert" | "key" | "token"]: WatchedSource | undefined };
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #tls: TlsMaterial = { ca: undefined, cert: undefined, key: undefined };

  constructor(config: KubeConfig, clock: Clock) {
    this.#clock = clock;
    this.#sources = {
      ca: watched(config.ca),
      cert: watched(config.clientCert),
      key: watched(config.clientKey),
      token: watched(config.token),
    };
  }

  /** The same object as long as nothing changed. Throws `KUBE_CREDENTIALS` while a file was never readable. */
  get tls(): TlsMaterial {
    this.#refresh(false);
    const { ca, cert, key } = this.#sources;
    const now = { ca: ca?.text, cert: cert?.text, key: key?.text };
    if (now.ca !== this.#tls.ca || now.cert !== this.#tls.cert || now.key !== this.#tls.key) this.#tls = now;
    return this.#tls;
  }

  get token(): string | undefined {
    this.#refresh(false);
    return this.#sources.token?.text.trim();
  }

  /** Looks at the files now; true where the token became another. */
  renewToken(): boolean {
    const before = this.token;
    this.#refresh(true);
    return this.token !== before;
  }

  #refresh(now: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    if (!now && nowMs - this.#checkedAtMs < limits.credentialCheckMs) return;
    for (const source of Object.values(this.#sources)) source?.refresh();
    this.#checkedAtMs = nowMs;
  }
}

interface WatchedSource {
  readonly text: string;
  refresh(): void;
}

function watched(source: Source | undefined): WatchedSource | undefined {
  if (source === undefined) return undefined;
  return source.kind === "file" ? new WatchedFile(source.path) : { text: source.data, refresh: () => {} };
}

class WatchedFile implements WatchedSource {
  readonly #path: string;
  #seen = "";
  #text: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  get text(): string {
    return this.#text ?? "";
  }

  /** A file that vanishes for a moment (it is being replaced) keeps its last content. */
  refresh(): void {
    try {
      const { mtimeMs, ino, size } = statSync(this.#path);
      const seen = `${mtimeMs} ${ino} ${size}`;
      if (seen === this.#seen) return;
      this.#text = readFileSync(this.#path, "utf8");
      this.#seen = seen;
    } catch (cause) {
      if (this.#text !== undefined) return;
      throw new SpiderError("KUBE_CREDENTIALS", "a file with credentials for the Kubernetes API cannot be read", {
        details: { path: this.#path },
        cause,
      });
    }
  }
}
