import { readFileSync, unwatchFile, watchFile } from "node:fs";
import type { Secret, Store } from "#kube";
import { issue, type Pair } from "./issue.ts";
import { readSecret } from "./secret.ts";

/** Where a server's certificate comes from; it may change while the server runs. */
export interface TlsSource {
  /** Throws if it cannot be read. */
  current(): Pair;
  /** Calls `listener` when the certificate may have changed; returns a function that unsubscribes. */
  changed(listener: () => void): () => void;
}

/** How often to check the file: the kubelet replaces a projected volume's target, which inotify on the file does not report. */
const fileCheckMs = 10_000;

/** PEM files. If the certificate is new and the key still old, the next check reads both again. */
export function tlsOfFiles({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }): TlsSource {
  return {
    current: () => ({ cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") }),
    changed: (listener) => {
      for (const file of [certFile, keyFile]) watchFile(file, { interval: fileCheckMs, persistent: false }, listener);
      return () => {
        for (const file of [certFile, keyFile]) unwatchFile(file, listener);
      };
    },
  };
}

/** A Secret that the leader rotates. Until it holds a certificate, serves one that nobody trusts. */
export async function tlsOfSecret(store: Store<Secret>, key: string): Promise<TlsSource> {
  const untrusted = await issue({ names: ["starting"], lifetimeMs: 86_400_000, now: new Date() });
  return {
    current: () => {
      const secret = store.get(key);
      return (secret && readSecret(secret).current) ?? untrusted;
    },
    changed: (listener) => store.changed((changed) => changed === key && listener()),
  };
}
