import { mutatingWebhooks, secrets, validatingWebhooks } from "#kube";
import type { TestCluster } from "../cluster.ts";
import type { Scenario } from "./scenario.ts";

const webhookKinds = [mutatingWebhooks, validatingWebhooks];
const clientConfig = { service: { namespace: "kube-system", name: "controller" } };

/** Of each webhook, whether it trusts the authority of the Secret. */
function trusts({ api }: TestCluster): readonly boolean[] {
  const authority = api.all(secrets)[0]?.data?.["ca.crt"];
  return webhookKinds
    .flatMap((kind) => api.all(kind))
    .flatMap(({ webhooks = [] }) => webhooks.map(({ clientConfig: { caBundle } }) => caBundle))
    .map((bundle) => bundle !== undefined && bundle === authority);
}

export const certificateScenarios: readonly Scenario[] = [
  {
    reconcile: "certificates",
    does: "makes a certificate and has the webhooks trust it",
    options: {
      tls: {
        kind: "secret",
        secret: "certs",
        service: "controller",
        webhooks: "spiderpool",
        names: ["controller.kube-system.svc"],
        lifetimeMs: 86_400_000,
      },
    },
    setUp: ({ api }) => {
      for (const kind of webhookKinds)
        api.apply(kind, { metadata: { name: "spiderpool" }, webhooks: [{ name: "a", clientConfig }] });
    },
    trigger: ({ api }) => void api.apply(secrets, { metadata: { namespace: "kube-system", name: "certs" }, data: {} }),
    takesMs: 60_000,
    isDone: (cluster) => trusts(cluster).every(Boolean),
    result: trusts,
  },
];
