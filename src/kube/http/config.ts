import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { isJsonObject, type JsonObject, SpiderError } from "#base";

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

/** What a program gave by which somebody is known to the API server: text, PEM. */
interface GivenCredentials {
  readonly token?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
}

/** Gets credentials as a user's entry `exec` says. Throws KUBE_CONFIG_INVALID. */
export type AskForCredentials = (
  exec: JsonObject,
  about: {
    /** The kubeconfig: a command with a slash is looked up from its folder. */
    readonly path: string;
    /** The entry of the cluster, of which the program is told where it asks for that. */
    readonly cluster: JsonObject;
    readonly env: Readonly<Record<string, string | undefined>>;
  },
) => GivenCredentials;

interface LoadOptions {
  /** The path of a kubeconfig file; of several, the first that has an entry counts for it, as in kubectl. */
  readonly kubeconfig?: string | readonly string[] | undefined;
  /** @default the file's current context */
  readonly context?: string | undefined;
  /**
   * Asks the program that the file names for credentials (`exec`). Only for programs that end soon: it is asked once, and what
   * it gives expires. @default such a file is refused
   */
  readonly ask?: AskForCredentials;
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** @default /var/run/secrets/kubernetes.io/serviceaccount */
  readonly serviceAccountFolder?: string;
}

/** Reads the kubeconfig file if one is given, otherwise the Pod's service account. Throws `KUBE_CONFIG_INVALID`. */
export function loadKubeConfig(options: LoadOptions): KubeConfig {
  return options.kubeconfig === undefined ? inCluster(options) : fromFiles([options.kubeconfig].flat(), options);
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

function fromFiles(paths: readonly string[], { context: asked, ask, env = process.env }: LoadOptions) {
  const files = paths.map((path): File => ({ path, fields: parseYaml(path) }));
  const [current] = files.flatMap(({ fields }) => text(fields, "current-context") ?? []);
  const wanted = asked ?? current;
  const path = paths.join(":");
  if (wanted === undefined) throw invalid("the kubeconfig names no current context", { path });
  const { part: context } = named(files, "contexts", wanted, "context");
  const cluster = named(files, "clusters", text(context, "cluster") ?? "", "cluster");
  const userName = text(context, "user");
  const user = userName === undefined ? { part: {}, path } : named(files, "users", userName, "user");
  const { exec } = user.part;
  const asks = ask !== undefined && isJsonObject(exec);
  for (const field of ["exec", "auth-provider", "username", "proxy-url"]) {
    if (field === "exec" && asks) continue;
    if (user.part[field] !== undefined || cluster.part[field] !== undefined) {
      const ways = ["token", "tokenFile", "client-certificate(-data)", ...(ask === undefined ? [] : ["exec"])];
      const details = { path: user.path, field, supported: ways };
      throw invalid("the kubeconfig uses a way of access that is not supported", details);
    }
  }
  const server = text(cluster.part, "server") ?? "";
  if (!/^https?:\/\/[^/]/.test(server))
    throw invalid("the kubeconfig's server is not an http(s) URL", { path: cluster.path, server });
  const tlsServerName = text(cluster.part, "tls-server-name");
  const given: GivenCredentials = asks ? ask(exec, { path: user.path, cluster: cluster.part, env }) : {};
  const sources = {
    ca: pem(cluster, "certificate-authority"),
    clientCert: dataSource(given.clientCert) ?? pem(user, "client-certificate"),
    clientKey: dataSource(given.clientKey) ?? pem(user, "client-key"),
    token: dataSource(given.token) ?? token(user),
  };
  return {
    server: server.replace(/\/+$/, ""),
    insecureSkipTlsVerify: cluster.part["insecure-skip-tls-verify"] === true,
    namespace: text(context, "namespace") ?? "default",
    ...(tlsServerName !== undefined && { tlsServerName }),
    ...Object.fromEntries(Object.entries(sources).filter(([, source]) => source !== undefined)),
  };
}

/** Data wins over a file, and paths are relative to the kubeconfig, as in kubectl. */
function pem({ part, path }: Entry, name: string): Source | undefined {
  const data = text(part, `${name}-data`);
  return data === undefined
    ? fileSource(text(part, name), path)
    : dataSource(Buffer.from(data, "base64").toString("utf8"));
}

/** The file wins over the token itself, which may be outdated: as in kubectl. */
function token({ part, path }: Entry): Source | undefined {
  return fileSource(text(part, "tokenFile"), path) ?? dataSource(text(part, "token"));
}

function dataSource(data: string | undefined): Source | undefined {
  return data === undefined ? undefined : { kind: "data", data };
}

function fileSource(path: string | undefined, configPath: string): Source | undefined {
  return path === undefined ? undefined : { kind: "file", path: resolve(dirname(configPath), path) };
}

type Fields = JsonObject;

interface File {
  readonly path: string;
  readonly fields: Fields;
}

/** A part of a kubeconfig, and the file that it is in. */
interface Entry {
  readonly part: Fields;
  readonly path: string;
}

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

/** The part `field` of the first entry `name` in the files' lists `list`. */
function named(files: readonly File[], list: string, name: string, field: string): Entry {
  const entries = files.flatMap(({ path, fields }) => {
    const found = fields[list];
    return Array.isArray(found) ? found.filter(isJsonObject).map((entry) => ({ path, entry })) : [];
  });
  const found = entries.find(({ entry }) => entry["name"] === name);
  const part = found?.entry[field];
  if (found !== undefined && isJsonObject(part)) return { part, path: found.path };
  const known = entries.flatMap(({ entry }) => text(entry, "name") ?? []);
  const path = files.map((file) => file.path).join(":");
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
