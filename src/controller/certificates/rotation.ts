import { type ControllerOptions, fromStore, type Secret, type Store, secrets } from "#kube";
import type { Deps } from "../deps.ts";
import { type IssueOptions, issue } from "./issue.ts";
import { authoritiesOf, type Certificates, planCertificates, type Step } from "./plan.ts";
import { readSecret, secretData } from "./secret.ts";
import { publishAuthorities, type WebhookStore } from "./webhooks.ts";

interface RotationOptions {
  /** In the install namespace. The chart creates it, so that the controller needs no right to create Secrets. */
  readonly secret: { readonly namespace: string; readonly name: string };
  /** The Service through which API servers reach us. Webhooks of other Services are not touched. */
  readonly service: { readonly namespace: string; readonly name: string };
  readonly names: readonly string[];
  readonly lifetimeMs: number;
  readonly secrets: Store<Secret>;
  readonly webhooks: readonly WebhookStore[];
}

/**
 * Issues the webhooks' certificate and renews it without a failed call: first publishes a new authority beside the old one,
 * later serves the new certificate, and finally drops the old authority. Only the leader runs it.
 */
export function rotationController(
  { client, clock, log }: Pick<Deps, "client" | "clock" | "log">,
  options: RotationOptions,
): ControllerOptions {
  const { lifetimeMs, service, webhooks } = options;
  const host = `${service.name}.${service.namespace}.svc`;
  const names = [...new Set([...options.names, host])];
  const key = `${options.secret.namespace}/${options.secret.name}`;
  const only = () => [key];
  /** The version of the Secret whose authorities every webhook trusts, and since when, by our monotonic clock. */
  let trusted: { readonly version: string; readonly sinceMs: number } | undefined;
  return {
    name: "certificates",
    clock,
    log,
    sources: [fromStore(options.secrets, only), ...webhooks.map(({ store }) => fromStore(store, only))],
    reconcile: async (_key, o) => {
      const secret = options.secrets.get(key);
      if (secret === undefined) {
        log.warn({ secret: key }, "the Secret of the webhooks' certificate is not there; `helm upgrade` makes it");
        return { afterMs: 60_000 };
      }
      const certificates = readSecret(secret);
      const isPublished = await publishAuthorities(client, { ca: certificates.ca, service, webhooks }, o);
      const version = `${secret.metadata.uid}/${secret.metadata.resourceVersion}`;
      const nowMs = clock.monotonicMs();
      if (!isPublished) trusted = undefined;
      else if (trusted?.version !== version) trusted = { version, sinceMs: nowMs };
      const settledMs = trusted === undefined ? 0 : nowMs - trusted.sinceMs;
      const now = clock.wall();
      const step = planCertificates(certificates, { now, names, host, lifetimeMs, settledMs });
      if (step.kind === "wait") return { afterMs: step.ms };
      log.info({ secret: key, ...step }, "webhook certificate");
      const next = await take(step.kind, certificates, { now, names, lifetimeMs });
      await client.update(secrets, { ...secret, data: secretData(next) }, o);
      return {};
    },
  };
}

/** The certificates after one step of the plan. */
async function take(
  step: Exclude<Step["kind"], "wait">,
  before: Certificates,
  wanted: IssueOptions,
): Promise<Certificates> {
  const { current, next } = before;
  /** The authorities that signed the current certificate. */
  const served = current === undefined ? "" : authoritiesOf(before.ca, current);
  switch (step) {
    case "replace": {
      const { ca, ...pair } = await issue(wanted);
      return { ca, current: pair, next: undefined };
    }
    case "prepare": {
      const { ca, ...pair } = await issue(wanted);
      return { ca: served + ca, current, next: pair };
    }
    case "promote":
      return { ...before, current: next, next: undefined };
    case "forget":
      return { ca: served, current, next: undefined };
  }
}
