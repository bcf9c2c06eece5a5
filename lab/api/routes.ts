import type { Clock } from "#base";
import { type Admitted, admitted, type Webhooks } from "./admission.ts";
import { json, jsonLines } from "./answer.ts";
import type { Cascade } from "./cascade.ts";
import { badRequest, conflict, expired, methodNotAllowed, noSuchPath, notFound } from "./failure.ts";
import { addressOfNode, type KubeletAddress, type KubeletCall, kubeletPath, proxyLog } from "./kubelet.ts";
import { checkPatchType, patched } from "./patch.ts";
import { formOf, type ListMeta, presentList, presentOne } from "./present.ts";
import { groupVersion, type Resource } from "./resource.ts";
import { matcherOf } from "./selectors.ts";
import { keyOf, type Store } from "./store.ts";
import { bound, scaled, scaleOf, success } from "./subresources.ts";
import { type ApiResponse, at, type Fields, fieldsAt, type KubeObject, listAt, textAt } from "./types.ts";
import { type WatchRequest, watch } from "./watch.ts";
import { asFields, type DeleteOptions, type WriteOptions, type Writer, type Written } from "./writer.ts";

/** One call on a resource. */
export interface Call {
  readonly method: string;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  /** The body as JSON; throws a 400 or 415. Undefined where there is none. */
  body(): unknown;
  readonly signal: AbortSignal;
}

export interface RoutesParts {
  readonly store: Store;
  readonly writer: Writer;
  readonly cascade: Cascade;
  readonly clock: Clock;
  readonly kubelet?: ((nodeName: string) => KubeletAddress | undefined) | undefined;
  readonly webhooks?: Webhooks | undefined;
}

/** What each method does on collections, objects and subresources. Throws ApiFailure. */
export class Routes {
  readonly #parts: RoutesParts;

  constructor(parts: RoutesParts) {
    this.#parts = parts;
  }

  async handle(call: Call): Promise<ApiResponse> {
    if (call.subresource !== undefined) return this.#onSubresource(call, call.subresource);
    return call.name === undefined ? this.#onCollection(call) : this.#onObject(call);
  }

  /** The kubelet's end of `log` and `exec`. */
  kubeletCall(call: Call, verb: "containerLogs" | "exec"): KubeletCall {
    const { store, kubelet } = this.#parts;
    const pod = this.#find(call);
    const path = kubeletPath(verb, pod, call.query);
    const node = textAt(pod, "spec", "nodeName");
    const address = kubelet === undefined ? addressOfNode(store.get("/nodes", keyOf({ name: node }))) : kubelet(node);
    if (address === undefined) throw badRequest(`the address of node ${node} is not known`);
    return { address, path };
  }

  async #onCollection(call: Call): Promise<ApiResponse> {
    const { resource, query, namespace } = call;
    const { store, clock, writer } = this.#parts;
    switch (call.method) {
      case "GET": {
        const form = formOf(call.headers["accept"], query.get("includeObject"));
        const request = { resource, query, form, matches: matcherOf(resource, query, namespace) };
        const watches = ["true", "1"].includes(query.get("watch") ?? "");
        return watches ? jsonLines(watch(store, clock, request, call.signal)) : this.#list(request, namespace);
      }
      case "POST":
        return this.#written(
          call,
          201,
          writer.create(
            resource,
            namespace,
            await this.#admit(call, "CREATE", asFields(call.body())),
            optionsOf(query),
          ),
        );
      case "DELETE": {
        const matches = matcherOf(resource, query, namespace);
        const objects = store.list(resource.table).filter(matches);
        for (const object of objects) {
          await this.#admit(call, "DELETE", null, object);
          this.#delete(call, object);
        }
        return json(200, success(resource));
      }
      default:
        throw methodNotAllowed();
    }
  }

  #list({ resource, query, form, matches }: WatchRequest, namespace: string | undefined): ApiResponse {
    const { store, clock } = this.#parts;
    const from = decodeContinue(query.get("continue"));
    if (from !== undefined && from.resourceVersion < store.oldest(resource.table)) {
      throw expired("The provided continue parameter is too old to display a consistent list result.");
    }
    const within = { ...(namespace && { namespace }), ...(from && { after: from.key }) };
    const found = store.list(resource.table, within).filter(matches);
    const limit = Number(query.get("limit")) || found.length;
    const page = found.slice(0, limit);
    const last = page.at(-1);
    // Pages show the present; with the first page's version, a watch from the list's end repeats what changed meanwhile.
    const resourceVersion = from?.resourceVersion ?? store.resourceVersion;
    const rest =
      last === undefined || found.length === page.length
        ? {}
        : {
            continue: encodeContinue({ resourceVersion, key: keyOf(last.metadata) }),
            remainingItemCount: found.length - page.length,
          };
    const metadata: ListMeta = { resourceVersion: String(resourceVersion), ...rest };
    return json(200, presentList(resource, page, metadata, form, clock.wall().getTime()));
  }

  async #onObject(call: Call): Promise<ApiResponse> {
    const { resource } = call;
    const old = this.#find(call);
    switch (call.method) {
      case "GET":
        return this.#object(call, 200, old);
      case "PUT":
      case "PATCH":
        return this.#update(call, old, false);
      case "DELETE": {
        await this.#admit(call, "DELETE", null, old);
        const left = this.#delete(call, old);
        return left === undefined ? json(200, success(resource, old)) : this.#object(call, 200, left);
      }
      default:
        throw methodNotAllowed();
    }
  }

  async #onSubresource(call: Call, subresource: string): Promise<ApiResponse> {
    if (!Object.hasOwn(call.resource.subresources, subresource)) throw noSuchPath();
    const old = this.#find(call);
    const action = `${call.method} ${subresource}`;
    if (action === "GET status") return this.#object(call, 200, old);
    if (action === "PUT status" || action === "PATCH status") return this.#update(call, old, true);
    if (subresource === "scale") return this.#scale(call, old);
    if (action === "POST binding") return this.#bind(call, old);
    if (action === "POST eviction") {
      this.#delete(call, old, fieldsAt(call.body(), "deleteOptions"));
      return json(201, success(call.resource));
    }
    if (action === "GET log") return await proxyLog(this.kubeletCall(call, "containerLogs"), call.signal);
    if (subresource === "exec") throw badRequest("Upgrade request required");
    throw methodNotAllowed();
  }

  async #update(call: Call, before: KubeObject, status: boolean): Promise<ApiResponse> {
    const changed = this.#changed(call, { ...before, apiVersion: groupVersion(call.resource) });
    const next = status ? changed : await this.#admit(call, "UPDATE", changed, before);
    const old = this.#find(call); // A webhook takes time, and somebody may have written meanwhile.
    const written = this.#parts.writer.update(call.resource, old, next, { ...optionsOf(call.query), status });
    return this.#written(call, 200, written);
  }

  /** The object as admission leaves it. */
  #admit(
    call: Call,
    operation: Admitted["operation"],
    object: Readonly<Fields> | null,
    oldObject: KubeObject | null = null,
  ) {
    const { namespace, name, resource, query } = call;
    const asked = {
      operation,
      namespace,
      name: name ?? textAt(object, "metadata", "name"),
      object,
      oldObject,
      dryRun: isDry(query),
    };
    return admitted(this.#parts.webhooks, resource, asked);
  }

  /** What a PUT brings, or what a PATCH makes of `current`. */
  #changed(call: Call, current: object): Readonly<Fields> {
    if (call.method === "PUT") return asFields(call.body());
    const type = (call.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
    checkPatchType(type, call.resource.custom);
    return patched(current, call.body(), type);
  }

  #scale(call: Call, old: KubeObject): ApiResponse {
    const { resource, query, method } = call;
    const paths = resource.scale;
    if (paths === undefined || !["GET", "PUT", "PATCH"].includes(method)) throw methodNotAllowed();
    if (method === "GET") return json(200, scaleOf(old, paths));
    const wanted = this.#changed(call, scaleOf(old, paths));
    const version = textAt(wanted, "metadata", "resourceVersion") || old.metadata.resourceVersion;
    const next = scaled({ ...old, metadata: { ...old.metadata, resourceVersion: version } }, wanted, paths);
    const { object } = this.#parts.writer.update(resource, old, next, optionsOf(query));
    return json(200, scaleOf(object, paths));
  }

  #bind(call: Call, pod: KubeObject): ApiResponse {
    const { resource, query } = call;
    const { store, writer } = this.#parts;
    const binding = call.body();
    const assigned = textAt(pod, "spec", "nodeName");
    const { name } = pod.metadata;
    const about = { ...resource, plural: "pods/binding" };
    if (assigned !== "") throw conflict(about, name, `pod ${name} is already assigned to node "${assigned}"`);
    if (pod.metadata.deletionTimestamp !== undefined) {
      throw conflict(about, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    }
    if (textAt(binding, "target", "name") === "") throw badRequest("target.name is required");
    if (!isDry(query)) store.put(resource.table, bound(pod, binding, writer.now()));
    return json(201, success(resource));
  }

  #delete(call: Call, object: KubeObject, given: unknown = call.body()): KubeObject | undefined {
    const { writer, cascade } = this.#parts;
    const dryRun = isDry(call.query) || listAt(given, "dryRun").includes("All");
    const policy = textAt(given, "propagationPolicy") || call.query.get("propagationPolicy");
    const grace = at(given, "gracePeriodSeconds") ?? call.query.get("gracePeriodSeconds") ?? undefined;
    const options: DeleteOptions = {
      dryRun,
      uid: textAt(given, "preconditions", "uid") || undefined,
      resourceVersion: textAt(given, "preconditions", "resourceVersion") || undefined,
      gracePeriodSeconds: grace === undefined ? undefined : Number(grace),
    };
    if (policy === "Orphan" && !dryRun) {
      writer.delete(call.resource, object, { ...options, dryRun: true }); // refuses before a dependent is touched
      cascade.orphan(object);
    }
    return writer.delete(call.resource, object, options);
  }

  #find({ resource, namespace, name = "" }: Call): KubeObject {
    const object = this.#parts.store.get(resource.table, keyOf({ namespace, name }));
    if (object === undefined) throw notFound(resource, name);
    return object;
  }

  #object(call: Call, status: number, object: KubeObject, headers: Readonly<Record<string, string>> = {}): ApiResponse {
    const form = formOf(call.headers["accept"], call.query.get("includeObject"));
    return json(status, presentOne(call.resource, object, form, this.#parts.clock.wall().getTime()), headers);
  }

  #written(call: Call, status: number, { object, warnings }: Written): ApiResponse {
    const warning = warnings.map((text) => `299 - ${JSON.stringify(text)}`).join(", ");
    return this.#object(call, status, object, warning === "" ? {} : { warning });
  }
}

const isDry = (query: URLSearchParams) => query.get("dryRun") === "All";

function optionsOf(query: URLSearchParams): WriteOptions {
  const asked = query.get("fieldValidation");
  return { dryRun: isDry(query), fieldValidation: asked === "Strict" || asked === "Ignore" ? asked : "Warn" };
}

interface Continue {
  readonly resourceVersion: number;
  readonly key: string;
}

function encodeContinue(from: Continue): string {
  return Buffer.from(JSON.stringify(from)).toString("base64url");
}

function decodeContinue(token: string | null): Continue | undefined {
  if (token === null || token === "") return undefined;
  try {
    const { resourceVersion, key } = JSON.parse(Buffer.from(token, "base64url").toString());
    if (typeof resourceVersion === "number" && typeof key === "string") return { resourceVersion, key };
  } catch {}
  throw badRequest("continue key is not valid");
}
