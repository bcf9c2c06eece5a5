import type { Clock } from "#base";
import {
  type ControllerOptions,
  fromStore,
  type KubeObject,
  type Resource,
  type Secret,
  type Store,
  secrets,
} from "#kube";
import type { Deps } from "../deps.ts";
import { issue } from "./issue.ts";
import { authoritiesOf, type Certificates, planCertificates } from "./plan.ts";

export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig: {
      readonly caBundle?: string;
      readonly service?: { readonly namespace: string; readonly name: string };
    };
  }[];
}

const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false } as const;
export const mutatingWebhooks: Resource<WebhookConfiguration> = {
  ...admission,
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
};
export const validatingWebhooks: Resource<WebhookConfiguration> = {
  ...admission,
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
};

export interface RotationOptions {
  /** Of the install namespace. It exists: the chart makes it, so that nobody here needs the right to create Secrets. */
  readonly secret: { readonly namespace: string; readonly name: string };
  /** By which API servers reach us. Webhooks of other services are not touched. */
  readonly service: { readonly namespace: string; readonly name: string };
  readonly names: readonly string[];
  readonly lifetimeMs: number;
  readonly secrets: Store<Secret>;
  readonly webhooks: readonly {
    readonly resource: Resource<WebhookConfiguration>;
    readonly store: Store<WebhookConfiguration>;
  }[];
}

/**
 * Makes the certificate of the webhooks and renews it without one failed call: a new authority is published beside the old
 * one, later the new certificate is served, and later still the old authority is forgotten. Only the leader runs it.
 */
export function rotationController(
  { client, clock, log }: Pick<Deps, "client" | "clock" | "log">,
  options: RotationOptions,
): ControllerOptions {
  const { names, lifetimeMs } = options;
  const { namespace, name } = options.secret;
  const key = `${namespace}/${name}`;
  const settled = new Settled(clock);
  const only = () => [key];
  return {
    name: "certificates",
    clock,
    log,
    sources: [fromStore(options.secrets, only), ...options.webhooks.map(({ store }) => fromStore(store, only))],
    reconcile: async (_key, o) => {
      const secret = options.secrets.get(key);
      if (secret === undefined) {
        log.warn({ secret: key }, "the Secret of the webhooks' certificate is not there; `helm upgrade` makes it");
        return { afterMs: 60_000 };
      }
      const certificates = readSecret(secret);
      const published = await publish(certificates.ca, o);
      const step = planCertificates(certificates, {
        ...{ now: clock.wall(), names, lifetimeMs },
        settledMs: settled.since(published ? `${secret.metadata.uid}/${secret.metadata.resourceVersion}` : undefined),
      });
      if (step.kind === "wait") return { afterMs: step.ms };
      log.info({ secret: key, ...step }, "webhook certificate");
      await client.update(secrets, { ...secret, data: await after(certificates, step.kind) }, o);
      return {};
    },
  };

  async function after(before: Certificates, step: "replace" | "prepare" | "promote" | "forget") {
    switch (step) {
      case "replace": {
        const { ca, cert, key } = await issue({ names, lifetimeMs, now: clock.wall() });
        return dataOf({ ca, current: { cert, key }, next: undefined });
      }
      case "prepare": {
        const { ca, ...next } = await issue({ names, lifetimeMs, now: clock.wall() });
        const kept = before.current === undefined ? "" : authoritiesOf(before.ca, before.current);
        return dataOf({ ...before, ca: kept + ca, next });
      }
      case "promote":
        return dataOf({ ...before, current: before.next, next: undefined });
      case "forget": {
        const { current } = before;
        return dataOf({
          ...before,
          ca: current === undefined ? "" : authoritiesOf(before.ca, current),
          next: undefined,
        });
      }
    }
  }

  /** Has every webhook of ours trust exactly these authorities; true where all did so already. */
  async function publish(ca: string, o: { readonly signal: AbortSignal }): Promise<boolean> {
    const caBundle = encode(ca);
    let published = true;
    for (const { resource, store } of options.webhooks) {
      for (const found of store.list()) {
        const webhooks = found.webhooks?.map((webhook) => {
          const { service } = webhook.clientConfig;
          const isOurs = service?.name === options.service.name && service.namespace === options.service.namespace;
          return isOurs ? { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } } : webhook;
        });
        const differs = webhooks?.some(
          (one, at) => one.clientConfig.caBundle !== found.webhooks?.[at]?.clientConfig.caBundle,
        );
        if (webhooks === undefined || differs !== true) continue;
        published = false;
        if (ca !== "") await client.update(resource, { ...found, webhooks }, o);
      }
    }
    return published;
  }
}

/** What a Secret of this shape holds. */
export function readSecret({ data = {} }: Secret): Certificates {
  const text = (key: string) => Buffer.from(data[key] ?? "", "base64").toString("utf8");
  const pair = (prefix: string) => {
    const [cert, key] = [text(`${prefix}.crt`), text(`${prefix}.key`)];
    return cert === "" || key === "" ? undefined : { cert, key };
  };
  return { ca: text("ca.crt"), current: pair("tls"), next: pair("next") };
}

function dataOf({ ca, current, next }: Certificates): Readonly<Record<string, string>> {
  return {
    "ca.crt": encode(ca),
    "tls.crt": encode(current?.cert ?? ""),
    "tls.key": encode(current?.key ?? ""),
    ...(next && { "next.crt": encode(next.cert), "next.key": encode(next.key) }),
  };
}

function encode(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

/** For how long something has been as it is. */
class Settled {
  readonly #clock: Clock;
  #state: string | undefined;
  #sinceMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since `state` was first told; 0 for undefined. */
  since(state: string | undefined): number {
    if (state === undefined || state !== this.#state) {
      this.#state = state;
      this.#sinceMs = this.#clock.monotonicMs();
    }
    return this.#clock.monotonicMs() - this.#sinceMs;
  }
}
