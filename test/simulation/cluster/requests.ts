import { type ApiRequest, type ApiResponse, ApiUnreachableError } from "#kube";
import { Stream } from "./stream.ts";

/** What becomes of one request instead of the ordinary. */
export const effects = [
  "refused",
  "lost-before",
  "lost-after",
  "hang",
  "late-commit",
  "late-commit-answer-lost",
  "late-answer",
  "conflict",
  "too-many-requests",
  "internal-error",
  "internal-error-after-commit",
  "gateway-timeout-after-commit",
] as const;
/** One of {@link effects}. */
export type Effect = (typeof effects)[number];

/** What a request may do, watches aside. */
export const verbs = ["create", "get", "list", "update", "patch", "delete"] as const;
export type Verb = (typeof verbs)[number];

/** A request as faults and checks see it. */
export interface Asked {
  readonly verb: Verb | "watch";
  readonly plural: string;
  readonly name: string | undefined;
  readonly request: ApiRequest;
}

const methods: Readonly<Record<string, Verb>> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** What a request of the product's client asks for. */
export function decode(request: ApiRequest): Asked {
  const [path = "", query = ""] = request.path.split("?", 2);
  const [, rest = ""] = /^\/(?:api\/v1|apis\/[^/]+\/[^/]+)\/(.+)$/.exec(path) ?? [];
  const segments = rest.split("/");
  const [plural = "", name] = segments[0] === "namespaces" && segments.length > 2 ? segments.slice(2) : segments;
  const read = query.includes("watch=true") ? "watch" : name === undefined ? "list" : "get";
  return { verb: methods[request.method] ?? read, plural, name, request };
}

/** How the client hears of a connection that broke; `sent`: after the request had left. */
export function unreachable(request: ApiRequest, sent: boolean): ApiUnreachableError {
  const { method, path } = request;
  return new ApiUnreachableError(
    { server: "https://api.simulated", method, path },
    { sent, cause: new Error("the connection broke") },
  );
}

/** The body of a refusal that the network makes up. */
export function statusText(code: number, reason: string): string {
  return JSON.stringify({
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    code,
    reason,
    message: `simulated ${reason}`,
  });
}

/** A whole answer of that kind. */
export function status(code: number, reason: string, headers: Readonly<Record<string, string>> = {}): ApiResponse {
  const stream = new Stream();
  stream.push(Buffer.from(statusText(code, reason)));
  stream.end();
  return { status: code, headers, body: stream };
}
