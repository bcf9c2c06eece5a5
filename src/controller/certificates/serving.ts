import { readFileSync, unwatchFile, watchFile } from "node:fs";
import type { Secret, Store } from "#kube";
import { issue, type Pair } from "./issue.ts";
import { readSecret } from "./secret.ts";

/** Where a server's certificate comes from; it may change under a running server. */
export interface TlsSource {
  /** Throws where it cannot be read. */
  current(): Pair;
  /** Calls back when there may be another one; returns the function that ends that. */
  changed(listener: () => void): () => void;
}

/** How often a certificate's file is looked at: inotify says nothing of what the kubelet changes in a projected volume's target. */
const fileCheckMs = 10_000;

/** Files in PEM. A moment with a new certificate and an old key is met at the next look. */
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

/** A Secret that the leader rotates. Until it has a certificate, one is served that nobody trusts. */
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
