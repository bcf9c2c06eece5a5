import { type KubeObject, mutatingWebhooks, type Resource, secrets, validatingWebhooks, WatchedStore } from "#kube";
import type { Deps } from "../deps.ts";
import type { ControllerProgramOptions } from "../options.ts";
import { rotationController } from "./rotation.ts";
import { type TlsSource, tlsOfFiles, tlsOfSecret } from "./serving.ts";

/** The watches of a replica whose leader renews the certificate. */
export type CertificateStores = NonNullable<ReturnType<typeof watchCertificates>>;

/**
 * Stores of the certificate's Secret and of the webhook configurations that shall trust it; undefined unless the leader
 * renews the certificate. The caller runs their watches.
 */
export function watchCertificates({ tls, namespace }: ControllerProgramOptions, { client, clock, log }: Deps) {
  if (tls?.kind !== "secret") return undefined;
  const watch = <T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string) =>
    new WatchedStore<T>({ client, clock, log, resource, namespace, fieldSelector: `metadata.name=${name}` });
  return {
    secret: watch(secrets, tls.secret, namespace),
    mutating: watch(mutatingWebhooks, tls.webhooks),
    validating: watch(validatingWebhooks, tls.webhooks),
  };
}

/** Where the webhook port gets its certificate from. Undefined: it serves plain HTTP. */
export async function tlsSource(
  { tls, namespace }: ControllerProgramOptions,
  certificates: CertificateStores | undefined,
): Promise<TlsSource | undefined> {
  if (tls?.kind === "files") return tlsOfFiles(tls);
  if (tls === undefined || certificates === undefined) return undefined;
  return await tlsOfSecret(certificates.secret, `${namespace}/${tls.secret}`);
}

/** The leader's controllers for the certificate: none if cert-manager or Helm renews it. */
export function certificateControllers(
  deps: Deps,
  { tls, namespace }: ControllerProgramOptions,
  stores: CertificateStores | undefined,
) {
  if (tls?.kind !== "secret" || stores === undefined) return [];
  const { secret, service, names, lifetimeMs } = tls;
  return [
    rotationController(deps, {
      names,
      lifetimeMs,
      secrets: stores.secret,
      secret: { namespace, name: secret },
      service: { namespace, name: service },
      webhooks: [
        { resource: mutatingWebhooks, store: stores.mutating },
        { resource: validatingWebhooks, store: stores.validating },
      ],
    }),
  ];
}
