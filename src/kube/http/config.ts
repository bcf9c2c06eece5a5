import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { isJsonObject, SpiderError } from "#base";

/** Text given in the configuration itself, or a file that is read again when it changes. */
export type Source =
  | { readonly kind: "data"; readonly data: string }
  | { readonly kind: "file"; readonly path: string };

/** Where the API server is and how to be known to it. */
export interface KubeConfig {
  /** `https://10.96.0.1:443`, `http://127.0.0.1:8001`: without a slash at the end. */
  readonly server: string;
  /** The name expected in the server's certificate, if it differs from that in `server`. */
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify: boolean;
  /** The context's or the Pod's own namespace. */
  readonly namespace: string;
  /** PEM, as are the next two. */
  readonly ca?: Source;
  readonly clientCert?: Source;
  readonly clientKey?: Source;
  readonly token?: Source;
}

interface LoadOptions {
  /** The path of a kubeconfig file. */
  readonly kubeconfig?: string | undefined;
  /** @default the file's current context */
  readonly context?: string | undefined;
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** @default /var/run/secrets/kubernetes.io/serviceaccount */
  readonly serviceAccountFolder?: string;
}

/** Reads the kubeconfig file if one is given, otherwise the Pod's service account. Throws `KUBE_CONFIG_INVALID`. */
export function loadKubeConfig(options: LoadOptions): KubeConfig {
  return options.kubeconfig === undefined ? inCluster(options) : fromFile(options.kubeconfig, options.context);
}

function inCluster({
  env = process.env,
  serviceAccountFolder: folder = "/var/run/secrets/kubernetes.io/serviceaccount",
}: LoadOptions): KubeConfig {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === undefined || host === "") {
    throw invalid("not in a Pod: KUBERNETES_SERVICE_HOST is not set, and no kubeconfig is given", {});
  }
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    insecureSkipTlsVerify: false,
    namespace: readText(`${folder}/namespace`).trim(),
    ca: { kind: "file", path: `${folder}/ca.crt` },
    token: { kind: "file", path: `${folder}/token` },
  };
}

function fromFile(path: string, contextName: string | undefined): KubeConfig {
  const file = parseYaml(path);
  const wanted = contextName ?? text(file, "current-context");
  if (wanted === undefined) throw invalid("the kubeconfig names no current context", { path });
  const context = named(file, "contexts", wanted, "context", path);
  const clusterName = text(context, "cluster") ?? "";
  const cluster = named(file, "clusters", clusterName, "cluster", path);
  const userName = text(context, "user");
  const user = userName === undefined || userName === "" ? {} : named(file, "users", userName, "user", path);
  for (const field of ["exec", "auth-provider", "username", "proxy-url"]) {
    if (user[field] !== undefined || cluster[field] !== undefined) {
      throw invalid("the kubeconfig uses a way of access that is not supported", {
        path,
        field,
        supported: ["token", "tokenFile", "client-certificate(-data)"],
      });
    }
  }
  const server = text(cluster, "server") ?? "";
  if (!/^https?:\/\/[^/]/.test(server))
    throw invalid("the kubeconfig's server is not an http(s) URL", { path, server });
  const tlsServerName = text(cluster, "tls-server-name");
  const sources = {
    ca: pem(cluster, "certificate-authority", path),
    clientCert: pem(user, "client-certificate", path),
    clientKey: pem(user, "client-key", path),
    token: token(user, path),
  };
  return {
    server: server.replace(/\/+$/, ""),
    insecureSkipTlsVerify: cluster["insecure-skip-tls-verify"] === true,
    namespace: text(context, "namespace") ?? "default",
    ...(tlsServerName !== undefined && { tlsServerName }),
    ...Object.fromEntries(Object.entries(sources).filter(([, source]) => source !== undefined)),
  };
}

/** Data wins over a file, and paths are relative to the kubeconfig, as in kubectl. */
function pem(fields: Fields, name: string, configPath: string): Source | undefined {
  const data = text(fields, `${name}-data`);
  if (data !== undefined) return { kind: "data", data: Buffer.from(data, "base64").toString("utf8") };
  return fileSource(text(fields, name), configPath);
}

/** The file wins over the token itself, which may be outdated: as in kubectl. */
function token(user: Fields, configPath: string): Source | undefined {
  const data = text(user, "token");
  return fileSource(text(user, "tokenFile"), configPath) ?? (data === undefined ? undefined : { kind: "data", data });
}

function fileSource(path: string | undefined, configPath: string): Source | undefined {
  return path === undefined ? undefined : { kind: "file", path: resolve(dirname(configPath), path) };
}

type Fields = Readonly<Record<string, unknown>>;

function parseYaml(path: string): Fields {
  const source = readText(path);
  let value: unknown;
  try {
    value = parse(source);
  } catch (cause) {
    throw invalid("the kubeconfig is not YAML", { path }, cause);
  }
  if (!isJsonObject(value)) throw invalid("the kubeconfig is not a map", { path });
  return value;
}

/** The part `field` of the entry `name` in the list `list`. */
function named(file: Fields, list: string, name: string, field: string, path: string): Fields {
  const entries = file[list];
  const entry = Array.isArray(entries) ? entries.find((one) => isJsonObject(one) && one["name"] === name) : undefined;
  const part = isJsonObject(entry) ? entry[field] : undefined;
  if (isJsonObject(part)) return part;
  const known = Array.isArray(entries)
    ? entries.flatMap((one) => (isJsonObject(one) ? (text(one, "name") ?? []) : []))
    : [];
  throw invalid("the kubeconfig lacks an entry", { path, list, name, known });
}

function text(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw invalid("a file of the Kubernetes access configuration cannot be read", { path }, cause);
  }
}

function invalid(message: string, details: Fields, cause?: unknown): SpiderError {
  return new SpiderError("KUBE_CONFIG_INVALID", message, { details, cause });
}
