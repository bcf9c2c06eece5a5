import type { Clock } from "#base";
import { ApiFailure, badRequest, conflict, methodNotAllowed, noSuchPath, notFound } from "../failure.ts";
import { formOf, presentList, presentOne } from "../printing/present.ts";
import { groupVersion, type Resource } from "../resource.ts";
import { matcherOf } from "../selectors.ts";
import { keyOf, type Store, withoutWrites } from "../storage/store.ts";
import { watch } from "../storage/watch.ts";
import { asFields, type WriteOptions, Writer } from "../storage/writer.ts";
import { type ApiResponse, at, type Fields, type KubeObject, listAt, textAt } from "../types.ts";
import { type Admitted, admitted, type Webhooks } from "./admission.ts";
import { json, jsonLines } from "./answer.ts";
import { addressOfNode, type KubeletAddress, type KubeletCall, kubeletPath, proxyLog } from "./kubelet.ts";
import { Pages } from "./pages.ts";
import { checkPatchType, patched } from "./patch.ts";
import { bound, scaled, scaleOf, success } from "./subresources.ts";

/** As many as kube-apiserver makes. */
const patchAttemptsMax = 5;

/** One call on a resource. */
export interface Call {
  readonly method: string;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  /** The body as JSON; throws a 400 or 415. Undefined if there is none. */
  body(): unknown;
  readonly signal: AbortSignal;
}

interface RoutesParts {
  readonly store: Store;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly kubelet?: ((nodeName: string) => KubeletAddress | undefined) | undefined;
  readonly webhooks?: Webhooks | undefined;
}

/** What each method does on collections, objects and subresources. Throws ApiFailure. */
export class Routes {
  readonly #parts: RoutesParts;
  readonly #pages = new Pages();
  readonly #dryWriter: Writer;

  constructor(parts: RoutesParts) {
    this.#parts = parts;
    this.#dryWriter = new Writer(withoutWrites(parts.store), parts.clock);
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
    const { store, clock } = this.#parts;
    switch (call.method) {
      case "GET": {
        const form = formOf(call.headers["accept"], query.get("includeObject"));
        const request = { resource, query, form, matches: matcherOf(resource, query, namespace) };
        if (["true", "1"].includes(query.get("watch") ?? ""))
          return jsonLines(watch(store, clock, request, call.signal));
        const page = this.#pages.page(query, store.resourceVersion, () =>
          store.list(resource.table, namespace).filter(request.matches),
        );
        return json(200, presentList(resource, page.objects, page.metadata, form, clock.wall().getTime()));
      }
      case "POST": {
        const warnings = resource.warning === undefined ? [] : [resource.warning];
        const admitted = await this.#admit(call, "CREATE", asFields(call.body()), null, warnings);
        const created = this.#writerFor(call).create(resource, namespace, admitted, validation(query, warnings));
        return this.#object(call, 201, created, warnings);
      }
      case "DELETE": {
        for (const object of store.list(resource.table).filter(matcherOf(resource, query, namespace))) {
          await this.#admit(call, "DELETE", null, object);
          this.#delete(call, object);
        }
        return json(200, success(resource));
      }
      default:
        throw methodNotAllowed();
    }
  }

  async #onObject(call: Call): Promise<ApiResponse> {
    const { resource } = call;
    if (call.method === "PATCH") checkPatchType(typeOf(call), resource.custom);
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
    if (!call.resource.subresources.includes(subresource)) throw noSuchPath();
    const old = this.#find(call);
    const action = `${call.method} ${subresource}`;
    if (action === "GET status") return this.#object(call, 200, old);
    if (action === "PUT status" || action === "PATCH status") return this.#update(call, old, true);
    if (subresource === "scale") return this.#scale(call, old);
    if (action === "POST binding") return this.#bind(call, old);
    if (action === "GET log") return await proxyLog(this.kubeletCall(call, "containerLogs"), call.signal);
    if (subresource === "exec") throw badRequest("Upgrade request required");
    throw methodNotAllowed();
  }

  async #update(call: Call, before: KubeObject, status: boolean, attempts = 1): Promise<ApiResponse> {
    try {
      return await this.#replace(call, before, status);
    } catch (error) {
      // A server applies a patch again to what somebody else wrote meanwhile.
      const isOutrun = error instanceof ApiFailure && error.status === 409;
      if (!isOutrun || call.method !== "PATCH" || attempts >= patchAttemptsMax) throw error;
      return await this.#update(call, this.#find(call), status, attempts + 1);
    }
  }

  async #replace(call: Call, before: KubeObject, status: boolean): Promise<ApiResponse> {
    const changed = this.#changed(call, { ...before, apiVersion: groupVersion(call.resource) });
    const warnings: string[] = [];
    const next = status ? changed : await this.#admit(call, "UPDATE", changed, before, warnings);
    const old = this.#find(call); // A webhook takes time, and somebody may have written meanwhile.
    const options = { ...validation(call.query, warnings), status };
    return this.#object(call, 200, this.#writerFor(call).update(call.resource, old, next, options), warnings);
  }

  /** Of a dry run, one that goes through the same rules and changes nothing. Throws a 400 for another wish than All. */
  #writerFor(call: Call): Writer {
    return isDryRun(call) ? this.#dryWriter : this.#parts.writer;
  }

  /** Runs admission, and returns the object as it changed it. Adds the webhooks' warnings. */
  #admit(
    call: Call,
    operation: Admitted["operation"],
    object: Readonly<Fields> | null,
    oldObject: KubeObject | null = null,
    warnings: string[] = [],
  ) {
    const { namespace, resource } = call;
    const name = call.name ?? textAt(object, "metadata", "name");
    const asked = { operation, namespace, name, object, oldObject, dryRun: isDryRun(call) };
    return admitted(this.#parts.webhooks, resource, asked, warnings);
  }

  /** The new object: the body of a PUT, or `current` changed by a PATCH. */
  #changed(call: Call, current: object): Readonly<Fields> {
    if (call.method === "PUT") return asFields(call.body());
    const type = typeOf(call);
    checkPatchType(type, call.resource.custom);
    return patched(current, call.body(), type);
  }

  #scale(call: Call, old: KubeObject): ApiResponse {
    if (call.method === "GET") return json(200, scaleOf(old));
    const wanted = scaled(old, this.#changed(call, scaleOf(old)));
    return json(200, scaleOf(this.#writerFor(call).update(call.resource, old, wanted)));
  }

  #bind(call: Call, pod: KubeObject): ApiResponse {
    const { resource } = call;
    const { store, writer } = this.#parts;
    if (isDryRun(call)) throw badRequest("this lab's API server makes no dry runs of bindings");
    const binding = call.body();
    const assigned = textAt(pod, "spec", "nodeName");
    const { name } = pod.metadata;
    const about = { ...resource, plural: "pods/binding" };
    if (assigned !== "") throw conflict(about, name, `pod ${name} is already assigned to node "${assigned}"`);
    if (pod.metadata.deletionTimestamp !== undefined) {
      throw conflict(about, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    }
    store.put(resource.table, bound(pod, binding, writer.now()));
    return json(201, success(resource));
  }

  #delete(call: Call, object: KubeObject): KubeObject | undefined {
    const given = call.body();
    const policy = textAt(given, "propagationPolicy") || call.query.get("propagationPolicy");
    const grace = at(given, "gracePeriodSeconds") ?? call.query.get("gracePeriodSeconds");
    return this.#writerFor(call).delete(call.resource, object, {
      uid: textAt(given, "preconditions", "uid") || undefined,
      resourceVersion: textAt(given, "preconditions", "resourceVersion") || undefined,
      gracePeriodSeconds: grace === null ? undefined : Number(grace),
      orphan: policy === "Orphan",
    });
  }

  #find({ resource, namespace, name = "" }: Call): KubeObject {
    const object = this.#parts.store.get(resource.table, keyOf({ namespace, name }));
    if (object === undefined) throw notFound(resource, name);
    return object;
  }

  #object(call: Call, status: number, object: KubeObject, warnings: readonly string[] = []): ApiResponse {
    const form = formOf(call.headers["accept"], call.query.get("includeObject"));
    const body = presentOne(call.resource, object, form, this.#parts.clock.wall().getTime());
    const warning = warnings.map((text) => `299 - ${JSON.stringify(text)}`).join(", ");
    return json(status, body, warning === "" ? {} : { warning });
  }
}

/** How a request wants unknown fields treated: refused, with a warning (the default), or silently. */
function validation(query: URLSearchParams, warnings: string[]): WriteOptions {
  const wanted = query.get("fieldValidation") ?? "Warn";
  return {
    strict: wanted === "Strict",
    ...(wanted === "Warn" && { dropped: (field) => warnings.push(`unknown field "${field}"`) }),
  };
}

/** Whether the call is to be judged and answered like any other, and to change nothing. Throws a 400 for an unknown wish. */
function isDryRun(call: Call): boolean {
  const body = call.method === "DELETE" ? listAt(call.body(), "dryRun") : [];
  const wishes = [...call.query.getAll("dryRun"), ...body];
  const other = wishes.find((wish) => wish !== "All");
  if (other !== undefined)
    throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(other)}: supported values: "All"`);
  return wishes.length > 0;
}

/** The media type of the body, without parameters. */
function typeOf({ headers }: Call): string {
  return (headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
}
