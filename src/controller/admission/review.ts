import * as v from "valibot";
import { causeReasons, formatReason, formatViolation, type Violation } from "#api";
import type { JsonPatchOperation, KubeObject, Resource } from "#kube";

const object = v.looseObject({ metadata: v.looseObject({}), spec: v.optional(v.looseObject({})) });

const review = v.object({
  apiVersion: v.literal("admission.k8s.io/v1"),
  kind: v.literal("AdmissionReview"),
  request: v.object({
    uid: v.string(),
    operation: v.picklist(["CREATE", "UPDATE", "DELETE", "CONNECT"]),
    name: v.optional(v.string(), ""),
    namespace: v.optional(v.string(), ""),
    object: v.nullish(object),
    oldObject: v.nullish(object),
    dryRun: v.optional(v.boolean(), false),
  }),
});

/** A request of `admission.k8s.io/v1`, with the fields that we read. */
export type AdmissionRequest = v.InferOutput<typeof review>["request"];
/** The object of a request, of any kind: only `metadata` is checked; everything else stays as sent. */
export type SentObject = v.InferOutput<typeof object>;

/** The request in an AdmissionReview; undefined if the text is not one. */
export function decodeReview(text: string): AdmissionRequest | undefined {
  try {
    const result = v.safeParse(review, JSON.parse(text));
    return result.success ? result.output.request : undefined;
  } catch {
    return undefined;
  }
}

/** The answer that admits the request, changed by `patch`; the user sees `warnings`. */
export function allow(
  { uid }: AdmissionRequest,
  answer: { readonly patch?: readonly JsonPatchOperation[]; readonly warnings?: readonly string[] } = {},
): object {
  const { patch = [], warnings = [] } = answer;
  return encode({
    uid,
    allowed: true,
    ...(patch.length > 0 && {
      patchType: "JSONPatch",
      patch: Buffer.from(JSON.stringify(patch)).toString("base64"),
    }),
    ...(warnings.length > 0 && { warnings }),
  });
}

/** Refuses as the API server itself does: 422, with every violation as a cause. */
export function refuse(
  { uid, name }: AdmissionRequest,
  { group, kind }: Resource<KubeObject>,
  violations: readonly Violation[],
): object {
  const sentences = violations.map(formatViolation).join(", ");
  const causes = violations.map((violation) => ({
    reason: causeReasons[violation.type],
    message: formatReason(violation),
    field: violation.field,
  }));
  const status = {
    status: "Failure",
    message: `${group === "" ? kind : `${kind}.${group}`} "${name}" is invalid: ${violations.length > 1 ? `[${sentences}]` : sentences}`,
    reason: "Invalid",
    code: 422,
    details: { name, group, kind, causes },
  };
  return encode({ uid, allowed: false, status });
}

/** Refuses a valid request that is not allowed now: 403. */
export function forbid({ uid, name }: AdmissionRequest, { group, plural }: Resource<KubeObject>, why: string): object {
  const message = `${plural}.${group} "${name}" is forbidden: ${why}`;
  return encode({ uid, allowed: false, status: { status: "Failure", message, reason: "Forbidden", code: 403 } });
}

function encode(response: object): object {
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response };
}
