import type { Violation } from "#api";
import { formatError, type Logger, type Signal } from "#base";
import type { KubeObject, Resource } from "#kube";
import type { HttpAnswer, HttpRoutes } from "../http/http.ts";
import { jsonPatch } from "./json-patch.ts";
import type { AdmissionKind } from "./kind.ts";
import { type AdmissionRequest, allow, decodeReview, forbid, refuse } from "./review.ts";

interface AdmissionRouteOptions {
  readonly kinds: readonly AdmissionKind[];
  /** Resolves when the stores that rules compare with are filled. */
  readonly synced: (o: Signal) => Promise<unknown>;
  readonly log: Logger;
}

/** The routes `/mutate-…` and `/validate-…` of every kind, and `/webhook-health-check`. */
export function admissionRoutes({ kinds, synced, log }: AdmissionRouteOptions): HttpRoutes {
  const routes: Record<string, HttpRoutes[string]> = {
    "/webhook-health-check": { method: "GET", answer: async () => ({ status: 200 }) },
  };
  const serve = (path: string, act: (request: AdmissionRequest, o: Signal) => Promise<object>) => {
    routes[path] = {
      method: "POST",
      answer: async (text, o): Promise<HttpAnswer> => {
        const request = decodeReview(text);
        if (request === undefined) return { status: 400, body: "an AdmissionReview of admission.k8s.io/v1 is needed" };
        await synced(o);
        return { status: 200, body: await act(request, o) };
      },
    };
  };
  for (const kind of kinds) {
    serve(`/mutate-${suffixOf(kind.resource)}`, (request, o) => mutate(kind, request, log, o));
    serve(`/validate-${suffixOf(kind.resource)}`, (request, o) => validate(kind, request, o));
  }
  return routes;
}

/** `spiderpool-spidernet-io-v2beta1-spiderippool`: webhook paths as controller-runtime names them. */
function suffixOf({ group, version, kind }: Resource<KubeObject>): string {
  return `${group.replaceAll(".", "-")}-${version}-${kind.toLowerCase()}`;
}

/** Mutation runs before schema validation: an object that cannot be defaulted passes unchanged, and the schema refuses it. */
async function mutate(kind: AdmissionKind, request: AdmissionRequest, log: Logger, o: Signal): Promise<object> {
  const { object, oldObject, operation } = request;
  if (object === undefined || object === null || operation === "DELETE") return allow(request);
  const old = oldObject ?? undefined;
  try {
    const filled = kind.mutate(object, old);
    if (kind.isRefusedByCel(filled, old)) {
      const violations = await kind.validate(filled, old, { ...o, dryRun: true });
      if (violations.length > 0) return answerTo(request, kind, violations);
    }
    return allow(request, { patch: jsonPatch(object, filled) });
  } catch (err) {
    log.warn({ resource: kind.resource.plural, name: request.name, err: formatError(err) }, "defaults not filled in");
    return allow(request);
  }
}

async function validate(kind: AdmissionKind, request: AdmissionRequest, o: Signal): Promise<object> {
  const { object, oldObject, operation, dryRun } = request;
  if (operation === "DELETE") {
    const why = oldObject === undefined || oldObject === null ? undefined : await kind.refuseDeletion(oldObject, o);
    return why === undefined ? allow(request) : forbid(request, kind.resource, why);
  }
  if (object === undefined || object === null) return allow(request);
  return answerTo(request, kind, await kind.validate(object, oldObject ?? undefined, { ...o, dryRun }));
}

function answerTo(
  request: AdmissionRequest,
  { resource, warn }: AdmissionKind,
  violations: readonly Violation[],
): object {
  const [first] = violations;
  // The whole spec of a terminating object is immutable: no single field is at fault.
  if (first?.type === "Forbidden" && first.field === "spec") return forbid(request, resource, first.detail);
  if (first !== undefined) return refuse(request, resource, violations);
  return allow(request, { warnings: request.object ? warn(request.object) : [] });
}
