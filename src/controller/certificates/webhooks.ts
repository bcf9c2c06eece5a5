import type { Signal } from "#base";
import type { KubeClient, KubeObject, Resource, Store } from "#kube";

/** A mutating or validating webhook configuration, with the fields that we read and write. */
export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly Webhook[];
}

interface Webhook {
  readonly name: string;
  readonly clientConfig: {
    /** The authorities that the API server trusts, PEM in base64. */
    readonly caBundle?: string;
    readonly service?: ServiceName;
  };
}

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** The webhook configurations of one of the two kinds. */
export interface WebhookStore {
  readonly resource: Resource<WebhookConfiguration>;
  readonly store: Store<WebhookConfiguration>;
}

const admission = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false } as const;
/** The webhooks that set defaults. */
export const mutatingWebhooks: Resource<WebhookConfiguration> = {
  ...admission,
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
};
/** The webhooks that refuse. */
export const validatingWebhooks: Resource<WebhookConfiguration> = {
  ...admission,
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
};

/**
 * Makes every webhook of the Service trust exactly these authorities (PEM); does not touch webhooks of other Services. Returns
 * true if all did already. Writes nothing if there is no authority.
 */
export async function publishAuthorities(
  client: KubeClient,
  {
    ca,
    service,
    webhooks,
  }: { readonly ca: string; readonly service: ServiceName; readonly webhooks: readonly WebhookStore[] },
  o: Signal,
): Promise<boolean> {
  const caBundle = Buffer.from(ca, "utf8").toString("base64");
  let published = true;
  for (const { resource, store } of webhooks) {
    for (const configuration of store.list()) {
      const { webhooks: found = [] } = configuration;
      const isTrusting = (one: Webhook) => !isOf(service, one) || one.clientConfig.caBundle === caBundle;
      if (found.every(isTrusting)) continue;
      published = false;
      if (ca === "") continue;
      const told = found.map((one) =>
        isOf(service, one) ? { ...one, clientConfig: { ...one.clientConfig, caBundle } } : one,
      );
      await client.update(resource, { ...configuration, webhooks: told }, o);
    }
  }
  return published;
}

function isOf({ namespace, name }: ServiceName, { clientConfig: { service } }: Webhook): boolean {
  return service?.name === name && service.namespace === namespace;
}
