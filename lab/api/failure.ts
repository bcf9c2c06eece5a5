import { SpiderError } from "#base";

type FieldReason =
  | "FieldValueDuplicate"
  | "FieldValueForbidden"
  | "FieldValueInvalid"
  | "FieldValueNotSupported"
  | "FieldValueRequired"
  | "FieldValueTooLong"
  | "FieldValueTooMany";

/** An error about one field, as Kubernetes reports it. */
export interface FieldError {
  /** `spec.ips[0]` */
  readonly field: string;
  readonly reason: FieldReason;
  /** Without the field: `Invalid value: "x": must be …`. */
  readonly message: string;
}

/** The parts of a resource that messages name. */
interface Named {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

/** A refusal as a Kubernetes `Status`: HTTP status, machine-readable reason, text. Thrown inside the server only. */
export class ApiFailure extends SpiderError {
  readonly status: number;
  readonly reason: string;
  readonly causes: object | undefined;

  constructor(status: number, reason: string, message: string, causes?: object) {
    super("LAB_REFUSED", message);
    this.status = status;
    this.reason = reason;
    this.causes = causes;
  }

  /** The response body. */
  toStatus(): object {
    const { status: code, reason, message } = this;
    const details = this.causes === undefined ? {} : { details: this.causes };
    const why = reason === "" ? {} : { reason };
    return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, ...why, ...details, code };
  }
}

/** `pods`, or `deployments.apps` for a kind with a group. */
function qualified(resource: Named): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

const about = (resource: Named, name: string) => ({
  name,
  ...(resource.group !== "" && { group: resource.group }),
  kind: resource.plural,
});

/** 404: the resource has no object of that name. */
export function notFound(resource: Named, name: string): ApiFailure {
  return new ApiFailure(404, "NotFound", `${qualified(resource)} "${name}" not found`, about(resource, name));
}

/** For a URL that no resource serves. */
export function noSuchPath(): ApiFailure {
  return new ApiFailure(404, "NotFound", "the server could not find the requested resource", {});
}

/** 409: the name is taken. */
export function alreadyExists(resource: Named, name: string): ApiFailure {
  return new ApiFailure(409, "AlreadyExists", `${qualified(resource)} "${name}" already exists`, about(resource, name));
}

/** 409: the object is not in the state that the request requires. */
export function conflict(resource: Named, name: string, why: string): ApiFailure {
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`;
  return new ApiFailure(409, "Conflict", message, about(resource, name));
}

/** Kubernetes' message for a write of an outdated version. */
export const modified = "the object has been modified; please apply your changes to the latest version and try again";

/** 422 with one cause per field, in the API server's wording. */
export function invalid(resource: Named, name: string, errors: readonly FieldError[]): ApiFailure {
  const kind = resource.group === "" ? resource.kind : `${resource.kind}.${resource.group}`;
  const lines = errors.map((error) => `${error.field}: ${error.message}`);
  const text = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  return new ApiFailure(422, "Invalid", `${kind} "${name}" is invalid: ${text}`, {
    ...about(resource, name),
    kind: resource.kind,
    causes: errors,
  });
}

/** 400. */
export function badRequest(message: string): ApiFailure {
  return new ApiFailure(400, "BadRequest", message);
}

/** 403. */
export function forbidden(resource: Named, name: string, why: string): ApiFailure {
  return new ApiFailure(
    403,
    "Forbidden",
    `${qualified(resource)} "${name}" is forbidden: ${why}`,
    about(resource, name),
  );
}

/** 405. */
export function methodNotAllowed(): ApiFailure {
  const message = "the server does not allow this method on the requested resource";
  return new ApiFailure(405, "MethodNotAllowed", message, {});
}

/** 410: the client must list again, because the version that it wants to continue from is forgotten. */
export function expired(message: string): ApiFailure {
  return new ApiFailure(410, "Expired", message);
}

/** 415. */
export function unsupportedMediaType(message: string): ApiFailure {
  return new ApiFailure(415, "UnsupportedMediaType", message);
}
