import { SpiderError } from "#base";

/** Bytes given in the configuration itself, or a file that is read again when it changes. */
export type Source =
  | { readonly kind: "data"; readonly data: string }
  | { readonly kind: "file"; readonly path: string };

/** Where the API server is and how to be known to it. */
export interface KubeConfig {
  /** `https://10.96.0.1:443`, without a path at the end. */
  readonly server: string;
  /** The name expected in the server's certificate, where it is not that of `server`. */
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify: boolean;
  /** The context's or the Pod's own namespace. */
  readonly namespace: string;
  readonly ca?: Source;
  readonly clientCert?: Source;
  readonly clientKey?: Source;
  readonly token?: Source;
}

/** The kubeconfig file where one is given, else the Pod's service account. Throws `KUBE_CONFIG_INVALID`. */
export function loadKubeConfig(_options: {
  readonly kubeconfig?: string | undefined;
  readonly context?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}): KubeConfig {
  throw new SpiderError("NOT_YET", "not yet");
}
