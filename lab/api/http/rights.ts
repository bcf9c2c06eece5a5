import { forbidden } from "../failure.ts";
import type { Call } from "./routes.ts";

/** A rule of RBAC, as in a ClusterRole. */
export interface RightsRule {
  readonly apiGroups: readonly string[];
  /** `pods`, `pods/status`. */
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** What callers may do, by their user agent, which is their identity here. Other callers may do everything. */
export type Rights = Readonly<Record<string, readonly RightsRule[]>>;

/** Throws the refusal of RBAC if no rule allows the call. */
export function assertAllowed(rights: Rights, call: Call): void {
  const user = call.headers["user-agent"] ?? "";
  const rules = rights[user];
  if (rules === undefined) return;
  const { resource, subresource } = call;
  const verb = verbOf(call);
  const what = subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`;
  const name = call.name ?? /^metadata\.name=([^,]+)$/.exec(call.query.get("fieldSelector") ?? "")?.[1] ?? "";
  const isAllowed = rules.some(
    ({ apiGroups, resources, verbs, resourceNames = [name] }) =>
      apiGroups.includes(resource.group) &&
      resources.includes(what) &&
      verbs.includes(verb) &&
      resourceNames.includes(name),
  );
  if (isAllowed) return;
  const asked = `User ${JSON.stringify(user)} cannot ${verb} resource ${JSON.stringify(what)}`;
  throw forbidden(resource, name, `${asked} in API group ${JSON.stringify(resource.group)}`);
}

const verbs: Readonly<Record<string, string>> = { POST: "create", PUT: "update", PATCH: "patch" };

function verbOf({ method, name, query }: Call): string {
  if (method === "DELETE") return name === undefined ? "deletecollection" : "delete";
  if (method !== "GET") return verbs[method] ?? method;
  if (query.get("watch") === "true" || query.get("watch") === "1") return "watch";
  return name === undefined ? "list" : "get";
}
