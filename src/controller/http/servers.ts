import { annotations } from "#api";
import { metricsContentType, productVersion, type Signal } from "#base";
import { admissionKinds } from "../admission/kinds.ts";
import { admissionRoutes } from "../admission/routes.ts";
import { expiryOf } from "../certificates/plan.ts";
import { tlsSource } from "../certificates/replica.ts";
import type { Deps } from "../deps.ts";
import { podRoutes } from "../injection/route.ts";
import type { ControllerProgramOptions } from "../options.ts";
import type { PoolMembers } from "../pools/uses.ts";
import { type Replica, storesOf } from "../replica.ts";
import { apiRoutes } from "./api.ts";
import { collectGauges, poolCounts } from "./gauges.ts";
import { healthRoutes, webhookAnswers } from "./health.ts";
import { type HttpRoutes, serveHttp } from "./http.ts";

/**
 * Starts the HTTP servers of a replica: webhooks, health and API, and metrics if they are on. All replicas serve, whether they
 * lead or not. Throws the system error of a port that cannot be bound.
 */
export async function serve(options: ControllerProgramOptions, deps: Deps, replica: Replica): Promise<AsyncDisposable> {
  const { bind } = options;
  const { log, metrics } = deps;
  const tls = await tlsSource(options, replica.certificates);
  await using servers = new AsyncDisposableStack();
  const webhook = servers.use(
    await serveHttp({
      port: options.webhookPort,
      host: bind.webhook,
      tls,
      routes: { ...validationRoutes(deps, replica), ...injectionRoutes(options, deps, replica) },
      log,
    }),
  );
  const isServing = () => webhookAnswers({ host: bind.webhook, port: webhook.port }, { tls: tls !== undefined });
  const health = servers.use(
    await serveHttp({
      port: options.healthPort,
      host: bind.health,
      tls: undefined,
      routes: { ...probeRoutes(replica, isServing), ...leaderRoutes(options, deps, replica) },
      log,
    }),
  );
  if (options.metrics !== undefined) servers.use(await serveMetrics(options.metrics, bind.metrics, deps, replica));
  if (tls !== undefined) {
    metrics.collect("spiderpool_webhook_certificate_expiry_timestamp_seconds", () => [
      { value: expiryOf(tls.current()).getTime() / 1_000 },
    ]);
  }
  log.info(
    { version: productVersion, webhookPort: webhook.port, healthPort: health.port, tls: tls !== undefined },
    "serving",
  );
  return servers.move();
}

/** Admission of our own kinds. */
function validationRoutes(deps: Deps, { stores, poolIndex, subnetIndex, elector, mark }: Replica): HttpRoutes {
  const { pools, subnets, networks } = stores;
  const epoch = () => elector.annotations[annotations.ledgerEpoch] ?? mark.value;
  return admissionRoutes({
    kinds: admissionKinds(deps, { ...stores, poolIndex, subnetIndex, epoch }),
    synced: (o: Signal) => Promise.all([pools.synced(o), subnets.synced(o), networks.synced(o), mark.synced(o)]),
    log: deps.log,
  });
}

/** Injection into Pods, if it is switched on. */
function injectionRoutes(
  { namespace }: ControllerProgramOptions,
  { client, settings }: Deps,
  replica: Replica,
): HttpRoutes {
  const { stores, namespaces } = replica;
  if (namespaces === undefined) return {};
  const { configs } = stores;
  return podRoutes({ client, configs, namespaces, settings: settings.podResourceInject, namespace });
}

function probeRoutes(replica: Replica, isServing: () => Promise<boolean>): HttpRoutes {
  return healthRoutes({
    isSynced: () => storesOf(replica).every(([, store]) => store.isSynced),
    isServing,
    isLed: () => replica.elector.isLed && replica.collector?.isSynced !== false,
  });
}

/** What `spiderpoolctl` asks the controller. */
function leaderRoutes({ podName }: ControllerProgramOptions, { clock }: Deps, replica: Replica): HttpRoutes {
  const { uses, reserved, elector } = replica;
  const counts = (members: PoolMembers) => poolCounts(members, reserved(members.view.family), clock.monotonicMs());
  return apiRoutes({
    collector: () => replica.collector,
    pools: () => Object.fromEntries(uses.list().map((members) => [members.view.name, counts(members)])),
    identity: podName,
    epoch: () => elector.term?.epoch,
  });
}

async function serveMetrics(
  { port, debug }: NonNullable<ControllerProgramOptions["metrics"]>,
  host: string | undefined,
  { log, clock, metrics }: Deps,
  { stores, uses, reserved, elector }: Replica,
): Promise<AsyncDisposable> {
  const { pools, subnets } = stores;
  collectGauges(metrics, { pools, subnets, uses, reserved, clock, leads: () => elector.term !== undefined, debug });
  const scrape = async () => ({ status: 200, text: { type: metricsContentType, text: await metrics.text() } });
  const routes: HttpRoutes = { "/metrics": { method: "GET", answer: scrape } };
  const server = await serveHttp({ port, host, tls: undefined, routes, log });
  log.info({ metricsPort: server.port }, "serving metrics");
  return server;
}
