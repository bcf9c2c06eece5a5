import { SpiderError } from "#base";
import { limits } from "./limits.ts";

/** What was attempted, as the errors of this module tell it. */
export interface Attempt {
  readonly verb: string;
  /** `pods`, `spiderippools` … */
  readonly resource: string;
  /** `namespace/name` or `name`; empty for a collection. */
  readonly object: string;
}

/**
 * The API server answered, and refused. Code `API_STATUS`; the message names verb and resource, the cause is the
 * server's own sentence. Never wrap it again: it says what was attempted on which object.
 */
export class ApiStatusError extends SpiderError {
  readonly status: number;
  /** The machine-readable reason of the server's Status (`AlreadyExists`, `Conflict`, `Expired` …). */
  readonly reason: string;
  /** The server's sentence. */
  readonly serverMessage: string;
  /** From the header `Retry-After` or the Status' details; no more than `limits.retryAfterMsMax`. */
  readonly retryAfterMs: number | undefined;

  constructor(
    attempt: Attempt,
    answer: {
      readonly status: number;
      readonly reason?: string | undefined;
      readonly message?: string | undefined;
      readonly retryAfterMs?: number | undefined;
    },
  ) {
    const reason = answer.reason !== undefined && answer.reason !== "" ? answer.reason : reasonOf(answer.status);
    const serverMessage = answer.message ?? reason;
    super("API_STATUS", `cannot ${attempt.verb} ${attempt.resource}`, {
      details: { ...attempt, status: answer.status, reason, serverMessage },
      cause: new Error(serverMessage),
    });
    this.name = "ApiStatusError";
    this.status = answer.status;
    this.reason = reason;
    this.serverMessage = serverMessage;
    this.retryAfterMs =
      answer.retryAfterMs === undefined ? undefined : Math.min(answer.retryAfterMs, limits.retryAfterMsMax);
  }
}

/** `read`: nothing can have changed. `not-sent`: the request did not reach the server. `unknown`: it may have taken effect. */
type Outcome = "read" | "not-sent" | "unknown";

/** No answer, or none that was complete. Code `API_UNREACHABLE`; details name the server and the request. */
export class ApiUnreachableError extends SpiderError {
  readonly server: string;
  readonly outcome: Outcome;

  constructor(
    request: { readonly server: string; readonly method: string; readonly path: string },
    failure: { readonly sent: boolean; readonly cause: unknown },
  ) {
    const read = request.method === "GET" || request.method === "HEAD";
    const outcome = read ? "read" : failure.sent ? "unknown" : "not-sent";
    super("API_UNREACHABLE", "the Kubernetes API server cannot be reached", {
      details: { server: request.server, method: request.method, path: request.path, outcome },
      cause: failure.cause,
    });
    this.name = "ApiUnreachableError";
    this.server = request.server;
    this.outcome = outcome;
  }
}

/** True if the server answered with one of these reasons: `hasReason(error, "AlreadyExists")`. */
export function hasReason(error: unknown, ...reasons: readonly string[]): error is ApiStatusError {
  return error instanceof ApiStatusError && reasons.includes(error.reason);
}

/**
 * True if a mutating call that failed with `error` certainly changed nothing. Everything else (a lost answer, a 5xx,
 * an aborted signal) leaves the outcome open: repeat the same call or look.
 */
export function surelyUnchanged(error: unknown): boolean {
  if (error instanceof ApiStatusError) return error.status < 500 && error.status !== 408;
  return error instanceof ApiUnreachableError && error.outcome !== "unknown";
}

/** The reasons that the API server gives with these statuses; for answers that carry none (of a proxy). */
const reasons: Readonly<Record<number, string>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  // Not "NotFound": without the server's Status it is the kind that is not served, not the object that is absent.
  404: "NotServed",
  405: "MethodNotAllowed",
  406: "NotAcceptable",
  409: "Conflict",
  410: "Gone",
  413: "RequestEntityTooLarge",
  415: "UnsupportedMediaType",
  422: "Invalid",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};

function reasonOf(status: number): string {
  return reasons[status] ?? "Unknown";
}
