import { X509Certificate } from "node:crypto";
import { labels } from "#api";
import type { Signal } from "#base";
import {
  configMaps,
  type DaemonSet,
  type Deployment,
  daemonSets,
  deployments,
  events,
  hasReason,
  type KubeClient,
  type KubeObject,
  namespaces,
  type ObjectRef,
  type Pod,
  pods,
  type Resource,
  readyCondition,
  secrets,
} from "#kube";
import { withoutAddFailure } from "#multus";
import { eventTimeMs, lastFailure } from "../told.ts";
import type { ClusterFacts } from "./facts.ts";

const enforceLabel = "pod-security.kubernetes.io/enforce";
const secretFlag = /^--tls-secret=(.+)$/;

/**
 * Reads the facts for the checks of a cluster, in all namespaces. Objects that the caller may not read count as absent; the facts
 * name their kinds.
 */
export async function readCluster(client: KubeClient, now: Date, { signal }: Signal): Promise<ClusterFacts> {
  const reader = { client, unread: new Set<string>(), signal };
  const list = <T extends KubeObject>(resource: Resource<T>) =>
    readAll(reader, resource, { labelSelector: labels.program });
  const [daemons, deployed, found, waiting] = await Promise.all([
    list(daemonSets),
    list(deployments),
    list(pods),
    readWaiting(reader),
  ]);
  const [agents, controllers, processes] = [daemons ?? [], deployed ?? [], found ?? []];
  const workloads = [
    ...agents.map((object) => ({ kind: "daemonset", object }) as const),
    ...controllers.map((object) => ({ kind: "deployment", object }) as const),
  ];
  const installed = [...new Set(workloads.map(({ object }) => object.metadata.namespace ?? ""))];
  const secretRefs = [
    ...new Map(
      controllers.flatMap((one) => secretsOf(one).map((ref) => [`${ref.namespace}/${ref.name}`, ref])),
    ).values(),
  ];
  const ciliumAt = ciliumAtOf(controllers);
  const [cilium, spaces, certificates] = await Promise.all([
    readOne(reader, configMaps, ciliumAt),
    Promise.all(installed.map((name) => readOne(reader, namespaces, { name }))),
    Promise.all(secretRefs.map((ref) => readCertificate(reader, ref))),
  ]);
  return {
    now,
    unread: [...reader.unread].sort(),
    processes: processes.flatMap((pod) => processOf(pod, workloads)),
    workloads: [daemons, deployed, found].includes(undefined)
      ? []
      : installed.flatMap((namespace) =>
          (["daemonset", "deployment"] as const).map((kind) => stateOf(namespace, kind, workloads, processes)),
        ),
    namespaces: spaces.flatMap((one) =>
      one === undefined ? [] : [{ name: one.metadata.name, enforces: one.metadata.labels?.[enforceLabel] ?? "" }],
    ),
    certificates: certificates.flat(),
    waiting,
    ciliumExclusive: cilium?.data?.["cni-exclusive"] === "true" ? ciliumAt : undefined,
  };
}

interface Reader extends Signal {
  readonly client: KubeClient;
  /** Kinds of which the caller may not read something. */
  readonly unread: Set<string>;
}

type Workload =
  | { readonly kind: "daemonset"; readonly object: DaemonSet }
  | { readonly kind: "deployment"; readonly object: Deployment };

function stateOf(
  namespace: string,
  kind: Workload["kind"],
  workloads: readonly Workload[],
  processes: readonly Pod[],
): ClusterFacts["workloads"][number] {
  const inNamespace = workloads.filter(({ object }) => object.metadata.namespace === namespace);
  const own = inNamespace.find((one) => one.kind === kind);
  const release = inNamespace[0]?.object.metadata.annotations?.["meta.helm.sh/release-name"];
  const living = processes.filter(
    ({ metadata }) => metadata.namespace === namespace && metadata.deletionTimestamp === undefined,
  );
  return {
    ...{ namespace, kind, name: own?.object.metadata.name, release },
    replicas: own?.kind === "deployment" ? own.object.spec?.replicas : undefined,
    pods: living
      .filter((pod) => own !== undefined && isOf(pod, own))
      .map((pod) => ({
        name: pod.metadata.name,
        node: pod.spec?.nodeName ?? "no node",
        ready: readyCondition(pod) !== "False",
      })),
  };
}

function isOf({ metadata: pod }: Pod, { object: { metadata } }: Workload): boolean {
  return metadata.namespace === pod.namespace && metadata.labels?.[labels.program] === pod.labels?.[labels.program];
}

function processOf(pod: Pod, workloads: readonly Workload[]): ClusterFacts["processes"] {
  const { metadata, spec } = pod;
  const { namespace = "", name } = metadata;
  const workload = workloads.find((one) => isOf(pod, one));
  const wanted = workload?.object.spec?.template.spec?.containers[0];
  const running = spec?.containers.find((one) => one.name === wanted?.name);
  if (workload === undefined || wanted?.image === undefined || running?.image === undefined) return [];
  return [
    {
      namespace,
      pod: name,
      container: wanted.name,
      image: running.image,
      wantedImage: wanted.image,
      workload: `${workload.kind}/${workload.object.metadata.name}`,
    },
  ];
}

/** Pods that their nodes have begun but that have no address, each with its last failure. Events are kept for an hour. */
async function readWaiting(reader: Reader): Promise<ClusterFacts["waiting"]> {
  const pending = ((await readAll(reader, pods, { fieldSelector: "status.phase=Pending" })) ?? []).filter(hasNoNetwork);
  if (pending.length === 0) return [];
  const told = await readAll(reader, events, { fieldSelector: "involvedObject.kind=Pod,type=Warning" });
  const byPod = Map.groupBy(told ?? [], ({ involvedObject: { uid = "" } }) => uid);
  return pending
    .flatMap(({ metadata: { namespace = "", name, uid }, spec }) => {
      const oldestFirst = byPod.get(uid)?.toSorted((a, b) => eventTimeMs(a) - eventTimeMs(b)) ?? [];
      const said = lastFailure(oldestFirst)?.sentence;
      if (said === undefined) return [];
      return [{ namespace, pod: name, node: spec?.nodeName ?? "", said: withoutAddFailure(said) }];
    })
    .sort((a, b) => `${a.namespace}/${a.pod}`.localeCompare(`${b.namespace}/${b.pod}`));
}

function hasNoNetwork({ metadata, spec, status }: Pod): boolean {
  const isBegun = spec?.nodeName !== undefined && metadata.deletionTimestamp === undefined;
  return isBegun && spec.hostNetwork !== true && status?.podIP === undefined;
}

/** The Secrets of the serving certificate: the one that a flag names, and those that are mounted. */
function secretsOf({ metadata: { namespace }, spec }: Deployment): readonly ObjectRef[] {
  const { containers = [], volumes = [] } = spec?.template.spec ?? {};
  const named = containers.flatMap(({ args = [] }) => args.flatMap((arg) => secretFlag.exec(arg)?.[1] ?? []));
  const mounted = volumes
    .filter(({ name }) => name === "tls")
    .flatMap(({ secret, projected }) => [
      secret?.secretName,
      ...(projected?.sources?.map((one) => one.secret?.name) ?? []),
    ]);
  return [...named, ...mounted].flatMap((name) => (name === undefined ? [] : [{ namespace, name }]));
}

/** The ConfigMap of Cilium's settings, where the chart's values tell the controller. */
function ciliumAtOf(controllers: readonly Deployment[]): NonNullable<ClusterFacts["ciliumExclusive"]> {
  const variables = controllers.flatMap(
    ({ spec }) => spec?.template.spec?.containers.flatMap(({ env = [] }) => env) ?? [],
  );
  const told = variables.find(({ name }) => name === "SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME")?.value;
  const [namespace = "", name = ""] = (told || "kube-system/cilium-config").split("/");
  return { namespace, name };
}

async function readCertificate(reader: Reader, ref: ObjectRef): Promise<ClusterFacts["certificates"]> {
  const pem = (await readOne(reader, secrets, ref))?.data?.["tls.crt"];
  if (pem === undefined) return [];
  try {
    const { validFromDate: from, validToDate: until } = new X509Certificate(Buffer.from(pem, "base64"));
    return [{ namespace: ref.namespace ?? "", secret: ref.name, from, until }];
  } catch {
    return []; // The controller's readiness probe reports a Secret without a valid certificate.
  }
}

/** Undefined if the caller may not. */
function readAll<T extends KubeObject>(
  reader: Reader,
  resource: Resource<T>,
  selection: { readonly labelSelector?: string; readonly fieldSelector?: string },
): Promise<readonly T[] | undefined> {
  const { client, signal } = reader;
  return allowed(reader, resource, () => Array.fromAsync(client.listAll(resource, { ...selection, signal })));
}

function readOne<T extends KubeObject>(reader: Reader, resource: Resource<T>, ref: ObjectRef): Promise<T | undefined> {
  return allowed(reader, resource, () => reader.client.get(resource, ref, reader));
}

async function allowed<T>(
  { unread }: Reader,
  { plural }: Resource<KubeObject>,
  read: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!hasReason(error, "Forbidden")) throw error;
    unread.add(plural);
    return undefined;
  }
}
