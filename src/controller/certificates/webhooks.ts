import type { Signal } from "#base";
import type { KubeClient, ObjectRef, Resource, Store, WebhookConfiguration } from "#kube";

type Webhook = NonNullable<WebhookConfiguration["webhooks"]>[number];

/** The webhook configurations of one of the two kinds. */
export interface WebhookStore {
  readonly resource: Resource<WebhookConfiguration>;
  readonly store: Store<WebhookConfiguration>;
}

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
  }: { readonly ca: string; readonly service: ObjectRef; readonly webhooks: readonly WebhookStore[] },
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

function isOf({ namespace, name }: ObjectRef, { clientConfig: { service } }: Webhook): boolean {
  return service?.name === name && service.namespace === namespace;
}
