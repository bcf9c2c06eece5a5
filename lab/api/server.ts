import { parseAllDocuments } from "yaml";
import { type Clock, formatError, type Logger, SpiderError, silentLogger, systemClock } from "#base";
import { ApiFailure, badRequest, noSuchPath, unsupportedMediaType } from "./failure.ts";
import type { Webhooks } from "./http/admission.ts";
import { json, plain } from "./http/answer.ts";
import * as discovery from "./http/discovery.ts";
import type { KubeletAddress, KubeletCall } from "./http/kubelet.ts";
import { bodyBytesMax, type Listener, type ListenOptions, listenOn } from "./http/listen.ts";
import { assertAllowed, type Rights } from "./http/rights.ts";
import { type Call, Routes } from "./http/routes.ts";
import { Cascade } from "./storage/cascade.ts";
import { Registry } from "./storage/registry.ts";
import { Store } from "./storage/store.ts";
import { Writer } from "./storage/writer.ts";
import { type ApiRequest, type ApiResponse, type Fields, isFields } from "./types.ts";

interface LabApiOptions {
  /** CustomResourceDefinitions that exist from the start, as objects or as texts (each may hold several documents). */
  readonly crds?: readonly (string | Readonly<Fields>)[];
  /** @default the system's clock */
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Where a node's kubelet listens. @default port 10250 of the Node's InternalIP */
  readonly kubelet?: (nodeName: string) => KubeletAddress | undefined;
  readonly webhooks?: Webhooks | undefined;
  /** @default everybody may do everything */
  readonly rights?: Rights | undefined;
  /** Where objects are stored. With a store of its own, a test sees every write and can change objects. @default an empty one */
  readonly store?: Store;
}

/** A running API server. Everything is in memory. */
export interface LabApi {
  /** Answers one call; never throws for a bad call. A watch's body ends when `signal` aborts or the server closes. */
  handle(request: ApiRequest, options?: { readonly signal?: AbortSignal }): Promise<ApiResponse>;
  /** Listens on one more address. Rejects with the system's error (EADDRINUSE). */
  listen(options?: ListenOptions): Promise<Listener>;
  /** Ends all watches and closes all listeners. */
  close(): Promise<void>;
}

const firstNamespaces = ["default", "kube-node-lease", "kube-public", "kube-system"];

/** Creates a server with the namespaces `default`, `kube-node-lease`, `kube-public`, `kube-system`. Throws LAB_BAD_CRD. */
export function createApiServer(options: LabApiOptions = {}): LabApi {
  const { clock = systemClock, log = silentLogger, kubelet, webhooks, rights = {}, store = new Store() } = options;
  const registry = new Registry(store);
  const writer = new Writer(store, clock);
  new Cascade(store, registry, writer);
  const routes = new Routes({ store, writer, clock, kubelet, webhooks });
  const closing = new AbortController();
  const listeners: Listener[] = [];
  seed(registry, writer, options.crds ?? []);

  const handle: LabApi["handle"] = async (request, { signal } = {}) => {
    try {
      const ends = signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal]);
      return await route(request, { registry, routes, rights }, ends);
    } catch (error) {
      if (error instanceof ApiFailure) return json(error.status, error.toStatus());
      log.error({ method: request.method, path: request.path, err: error }, "request failed");
      return json(500, new ApiFailure(500, "InternalError", formatError(error)).toStatus());
    }
  };
  const upgrade = (path: string): KubeletCall => {
    const call = callOf({ method: "GET", path, headers: {} }, registry, closing.signal);
    if (call?.resource.plural !== "pods" || call.subresource !== "exec") throw noSuchPath();
    return routes.kubeletCall(call, "exec");
  };
  return {
    handle,
    listen: async (where) => {
      const listener = await listenOn({ handle, upgrade }, where);
      listeners.push(listener);
      return listener;
    },
    close: async () => {
      closing.abort();
      await Promise.all(listeners.splice(0).map((listener) => listener.close()));
    },
  };
}

function seed(registry: Registry, writer: Writer, crds: NonNullable<LabApiOptions["crds"]>): void {
  const create = (apiVersion: string, plural: string, body: unknown) => {
    const resource = registry.find(apiVersion, plural);
    if (resource !== undefined && isFields(body)) writer.create(resource, undefined, body);
  };
  for (const name of firstNamespaces) {
    create("v1", "namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  }
  try {
    for (const body of crds.flatMap((one) => (typeof one === "string" ? definitionsIn(one) : one))) {
      create("apiextensions.k8s.io/v1", "customresourcedefinitions", body);
    }
  } catch (cause) {
    throw new SpiderError("LAB_BAD_CRD", "a CRD given at the start is not valid", { cause });
  }
}

/** The objects of a YAML stream. Throws the first error of the text. */
export function definitionsIn(text: string): readonly Fields[] {
  return parseAllDocuments(text).flatMap((document) => {
    for (const error of document.errors) throw error;
    const body: unknown = document.toJS();
    return isFields(body) ? [body] : [];
  });
}

async function route(
  request: ApiRequest,
  { registry, routes, rights }: { readonly registry: Registry; readonly routes: Routes; readonly rights: Rights },
  signal: AbortSignal,
): Promise<ApiResponse> {
  const { body } = request;
  if (body !== undefined && body.length > bodyBytesMax) {
    throw new ApiFailure(413, "RequestEntityTooLarge", `Request entity too large: limit is ${bodyBytesMax}`, {});
  }
  const call = callOf(request, registry, signal);
  if (call !== undefined) {
    assertAllowed(rights, call);
    return routes.handle(call);
  }
  if (request.method === "GET") {
    const path = request.path.split("?")[0] ?? "";
    if (["/healthz", "/livez", "/readyz"].includes(path)) return plain(200, "ok");
    const found = describe(path, registry);
    if (found !== undefined) return found;
  }
  throw noSuchPath();
}

/** Health, version, discovery and OpenAPI; undefined for other paths. */
function describe(path: string, registry: Registry): ApiResponse | undefined {
  const resources = registry.all();
  const trimmed = path.replace(/\/$/, "");
  if (trimmed === "/openapi/v2") return discovery.emptyOpenApiV2();
  if (trimmed === "/version") return json(200, discovery.serverVersion);
  if (trimmed === "/api" || trimmed === "/apis") {
    const body = discovery.aggregated(resources, trimmed === "/api");
    return json(200, body, { "content-type": discovery.aggregatedType });
  }
  if (trimmed === "/openapi/v3") return json(200, discovery.openApiRoot(resources, String(registry.revision)));
  const [, openApi = ""] = /^\/openapi\/v3\/(.+)$/.exec(trimmed) ?? [];
  const body = discovery.openApiDocument(resources, openApi);
  return body && json(200, body);
}

/** The resource, namespace, name and subresource that a request is about; undefined if it is about none. */
function callOf(request: ApiRequest, registry: Registry, signal: AbortSignal): Call | undefined {
  const [path = "", search = ""] = request.path.split(/\?(.*)/s);
  const [, core, grouped, rest = ""] = /^\/(?:api\/(v1)|apis\/([^/]+\/[^/]+))\/([^?]+)$/.exec(path) ?? [];
  const apiVersion = core ?? grouped;
  if (apiVersion === undefined) return undefined;
  const segments = rest.split("/").map(decoded);
  const inNamespace = segments[0] === "namespaces" && segments.length > 2 && segments[2] !== "status";
  const namespace = inNamespace ? segments[1] : undefined;
  const [plural = "", name, subresource, ...more] = inNamespace ? segments.slice(2) : segments;
  const resource = registry.find(apiVersion, plural);
  if (resource === undefined || more.length > 0) return undefined;
  const wantsNamespace = resource.namespaced && (name !== undefined || request.method === "POST");
  if (inNamespace ? !resource.namespaced : wantsNamespace) return undefined;
  const query = new URLSearchParams(search);
  const { method, headers } = request;
  const body = () => jsonBody(request);
  return { method, resource, namespace, name, subresource, query, headers, body, signal };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw badRequest(`malformed path segment: ${segment}`);
  }
}

function jsonBody({ headers, body }: ApiRequest): unknown {
  if (body === undefined || body.length === 0) return undefined;
  const type = headers["content-type"] ?? "application/json";
  if (!type.includes("json")) {
    const way = "add --dry-run=client -o yaml to the command, and | kubectl apply -f - behind it";
    throw unsupportedMediaType(`this lab's API server reads JSON bodies, not ${type}: ${way}`);
  }
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch (error) {
    throw badRequest(`the object provided is unrecognized (must be valid JSON): ${formatError(error)}`);
  }
}
