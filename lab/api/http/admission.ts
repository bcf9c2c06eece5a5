import { randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { applyPatch, type Operation } from "rfc6902";
import { formatError } from "#base";
import { ApiFailure, invalid } from "../failure.ts";
import { copyOf, type Resource } from "../resource.ts";
import { at, type Fields, fieldsAt, listAt, numberAt, textAt } from "../types.ts";

/** The admission webhooks of one group, at plain HTTP paths like `/mutate-example-io-v1-widget`. */
export interface Webhooks {
  /** Where they are served. */
  readonly url: string;
  readonly group: string;
  /** The kinds that they are called for. */
  readonly kinds: readonly string[];
}

/** A request that admission webhooks are asked about. */
export interface Admitted {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly object: Readonly<Fields> | null;
  readonly oldObject: Readonly<Fields> | null;
  readonly dryRun: boolean;
}

const timeoutMs = 10_000;

/** Calls the webhooks, adds their warnings, and returns the object as they change it. Throws a webhook's refusal, or a 500 if one cannot be called. */
export async function admitted(
  webhooks: Webhooks | undefined,
  resource: Resource,
  asked: Admitted,
  warnings: string[],
): Promise<Readonly<Fields>> {
  const object = asked.object ?? {};
  if (webhooks === undefined || webhooks.group !== resource.group || !webhooks.kinds.includes(resource.kind))
    return object;
  const name = `${resource.kind.toLowerCase()}.${resource.group}`;
  const path = [resource.group.replaceAll(".", "-"), resource.version, resource.kind.toLowerCase()].join("-");
  const call = (prefix: string, what: Admitted) => review(`${webhooks.url}/${prefix}-${path}`, name, resource, what);
  if (asked.object === null) {
    await call("validate", asked);
    return object;
  }
  const changed = mutated(object, await call("mutate", asked));
  const wrong = resource.malformed?.(changed) ?? [];
  if (wrong.length > 0) throw invalid(resource, asked.name ?? "", wrong);
  const answer = await call("validate", { ...asked, object: changed });
  warnings.push(...listAt(answer, "warnings").map(String));
  return changed;
}

async function review(url: string, webhook: string, resource: Resource, asked: Admitted): Promise<Readonly<Fields>> {
  const { group, version, kind, plural } = resource;
  const request = {
    uid: randomUUID(),
    kind: { group, version, kind },
    resource: { group, version, resource: plural },
    ...asked,
  };
  const body = JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
  let answer: unknown;
  try {
    answer = JSON.parse(await post(url, body));
  } catch (error) {
    const why = `failed calling webhook "${webhook}": failed to call webhook: Post "${url}": ${formatError(error)}`;
    throw new ApiFailure(500, "InternalError", `Internal error occurred: ${why}`);
  }
  const response = fieldsAt(answer, "response");
  if (response["allowed"] === true) return response;
  const status = fieldsAt(response, "status");
  const message = `admission webhook "${webhook}" denied the request: ${textAt(status, "message") || "no reason given"}`;
  const details = at(status, "details");
  throw new ApiFailure(
    numberAt(status, "code") || 403,
    textAt(status, "reason") || "Forbidden",
    message,
    typeof details === "object" && details !== null ? details : undefined,
  );
}

function mutated(object: Readonly<Fields>, response: Readonly<Fields>): Readonly<Fields> {
  const patch = textAt(response, "patch");
  if (patch === "") return object;
  const operations: unknown = JSON.parse(Buffer.from(patch, "base64").toString());
  const changed = copyOf(object);
  applyPatch(changed, listAt({ operations }, "operations") as Operation[]);
  return changed;
}

function post(url: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      timeout: timeoutMs,
    });
    call.on("error", reject);
    call.on("timeout", () => call.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    call.on("response", (response) => {
      text(response).then((answer) => {
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(`status ${response.statusCode}: ${answer.slice(0, 200)}`));
      }, reject);
    });
    call.end(body);
  });
}
