import { type Signal, SpiderError, type Steps } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  type Ipam,
  isJsonObject,
  type PluginConfig,
  type PodRef,
} from "#cni";
import { type Family, formatIp, formatPrefix, parseIp, parsePrefix } from "#ip";
import {
  type Addressed,
  attachRoutes,
  type Decision,
  decide,
  type PoolView,
  parseRoutesAnnotation,
  routesOf,
  type SelectionInput,
} from "#ipam";
import { type KubeObject, keyOf, type Node, type Pod, type Store } from "#kube";
import type { Claim, Claimed, Ledger } from "#ledger";
import { defaultNetworkAnnotation, networksAnnotation, parseDefaultNetwork, parseNetworks } from "#multus";
import { isPodAlive, isPodUid } from "./pods.ts";
import type { PoolCache, PoolsNow } from "./pool-cache.ts";
import type { TopControllers } from "./top-controller.ts";

export interface IpamOptions {
  readonly ledger: Ledger;
  readonly pools: PoolCache;
  readonly pods: Store<Pod>;
  /** Metadata of namespaces. */
  readonly namespaces: Store<KubeObject>;
  readonly nodes: Store<Node>;
  readonly owners: TopControllers;
  readonly node: string;
  /** Where pools' bare `multusName`s and the cluster network are looked up. */
  readonly namespace: string;
  /** `name` or `namespace/name` of the cluster's default network; "" where there is none. */
  readonly clusterNetwork: string;
  readonly families: readonly Family[];
  readonly settings: SelectionInput["settings"];
}

/** What an address was given with: kept in its claim, so that the same answer can be given again. */
export interface Answer {
  readonly prefix: number;
  readonly gw?: string;
  readonly clean?: true;
  readonly routes?: readonly { readonly dst: string; readonly gw: string }[];
}

/** Address management by the ledger, for the configurations whose `ipam.type` is `spiderpool`. */
export function createIpam(options: IpamOptions): (config: PluginConfig) => Ipam | undefined {
  return ({ raw }) => {
    const block = raw["ipam"];
    if (block === undefined || block === null) return undefined;
    const settings = isJsonObject(block) ? block : {};
    if (settings["type"] !== "spiderpool") {
      throw new CniError(
        cniCodes.unsupportedField,
        `ipam.type ${JSON.stringify(settings["type"])} cannot be used here`,
        {
          text: 'allowed is "spiderpool", or no ipam at all',
        },
      );
    }
    const network = {
      pools: { 4: namesAt(settings, "default_ipv4_ippool"), 6: namesAt(settings, "default_ipv6_ippool") },
      cleanGateway: settings["clean_gateway"] === true,
    };
    return new LedgerIpam(options, network, String(raw["name"] ?? ""));
  };
}

class LedgerIpam implements Ipam {
  readonly #options: IpamOptions;
  readonly #network: SelectionInput["network"];
  readonly #networkName: string;

  constructor(options: IpamOptions, network: SelectionInput["network"], networkName: string) {
    this.#options = options;
    this.#network = network;
    this.#networkName = networkName;
  }

  async allocate(attachment: Attachment, steps: Steps): Promise<CniResult> {
    const { pod, decisions, pools } = await steps.run("select", (o) => this.#select(attachment, o), {
      of: attachment.ifName,
    });
    const given = await steps.all(...decisions.map((decision) => this.#claim(decision, pools, attachment, pod, steps)));
    const routes = parseRoutesAnnotation(pod.metadata.annotations ?? {});
    const { addresses } = attachRoutes(given, routes);
    return {
      interfaces: [],
      ips: addresses.map(({ address, gateway }) => ({ address, ...(gateway === undefined ? {} : { gateway }) })),
      routes: addresses.flatMap((one) => routesOf(one)),
    };
  }

  /** A Pod that lives keeps its addresses: the runtime may only be replacing its sandbox. */
  async release({ pod: ref, containerId, ifName }: Attachment, _o: Signal): Promise<void> {
    if (ref === undefined) return;
    const { ledger, pods } = this.#options;
    const pod = pods.get(keyOf(ref));
    // Before the first list nothing is known of the Pod: the reconciler looks again when there is.
    if (!pods.isSynced || (pod !== undefined && isPodUid(pod, ref.uid) && isPodAlive(pod))) return;
    for (const claim of ledger.claimsOf(uidOf(ref, pod))) {
      if (claim.spec.nic !== ifName || claim.spec.containerID !== containerId) continue;
      ledger.release(claim, { why: "the sandbox of a dead Pod is gone", evidence: [`container ${containerId}`] });
    }
  }

  async check({ pod: ref, ifName }: Attachment, got: CniResult): Promise<void> {
    if (ref === undefined) return;
    const pod = this.#options.pods.get(keyOf(ref));
    const claims = this.#options.ledger.claimsOf(uidOf(ref, pod)).filter(({ spec }) => spec.nic === ifName);
    const held = new Set(claims.map(({ ip }) => formatIp(ip)));
    const lost = got.ips.map(({ address }) => formatIp(address.ip)).filter((ip) => !held.has(ip));
    if (lost.length > 0) {
      throw new CniError(cniCodes.failed, `addresses of ${ifName} are no longer held by Pod ${keyOf(ref)}`, {
        details: { addresses: lost },
      });
    }
  }

  async #select(
    attachment: Attachment,
    o: Signal,
  ): Promise<{ pod: Pod; decisions: readonly Accepted[]; pools: PoolsNow }> {
    const { pods, pools, families, settings, namespace: agentNamespace, node, nodes, namespaces } = this.#options;
    const ref = attachment.pod;
    const pod = ref && pods.get(keyOf(ref));
    if (pod === undefined) {
      throw new SpiderError(
        "POD_UNKNOWN",
        "addresses are given to Pods only, and the call names none that this node runs",
        {
          details: { container: attachment.containerId },
        },
      );
    }
    const now = await pools.now(o);
    const { namespace = "", name, uid, labels = {}, annotations = {} } = pod.metadata;
    const input: SelectionInput = {
      nic: attachment.ifName,
      slot: undefined,
      families,
      pod: { namespace, name, uid, labels, annotations, nodeName: node },
      namespace: {
        name: namespace,
        labels: namespaces.get(namespace)?.metadata.labels ?? {},
        annotations: namespaces.get(namespace)?.metadata.annotations ?? {},
      },
      node: { name: node, labels: nodes.get(node)?.metadata.labels ?? {} },
      owner: await this.#owner(pod, now, o),
      pools: now.pools,
      brokenPools: now.broken,
      network: this.#network,
      netAttachDef: this.#netAttachDef(pod, attachment.ifName),
      agentNamespace,
      masterAddresses: undefined,
      settings,
      autoPools: undefined,
    };
    const decisions = decide(input);
    const refused = decisions.find(({ outcome }) => outcome.kind === "refused");
    if (refused?.outcome.kind === "refused") {
      throw new SpiderError(refused.outcome.code, refused.outcome.message, { details: { fix: refused.outcome.fix } });
    }
    return { pod, pools: now, decisions: decisions.filter(isAccepted) };
  }

  /** Asked only where the answer matters: it may cost a request. */
  #owner(pod: Pod, { pools }: PoolsNow, o: Signal): Promise<SelectionInput["owner"]> {
    const annotations = Object.keys(pod.metadata.annotations ?? {});
    const matters =
      annotations.some((key) => /^ipam\.spidernet\.io\/subnets?$/.test(key)) ||
      [...pools.values()].some(({ auto }) => auto);
    return matters ? this.#options.owners.of(pod, o) : Promise.resolve(undefined);
  }

  /** The net-attach-def of a NIC: the default network's for the first, else the annotation's element of that name or position. */
  #netAttachDef(pod: Pod, nic: string): string | undefined {
    const { namespace, clusterNetwork } = this.#options;
    const annotations = pod.metadata.annotations ?? {};
    const selected = parseNetworks(annotations[networksAnnotation] ?? "", pod.metadata.namespace ?? "");
    const found = selected.find((one, at) => (one.interface ?? `net${at + 1}`) === nic);
    if (found !== undefined) return `${found.namespace}/${found.name}`;
    const byPod = annotations[defaultNetworkAnnotation];
    if (byPod !== undefined && byPod.trim() !== "") {
      const selection = parseDefaultNetwork(byPod, namespace);
      return `${selection.namespace}/${selection.name}`;
    }
    if (clusterNetwork === "") return undefined;
    return clusterNetwork.includes("/") ? clusterNetwork : `${namespace}/${clusterNetwork}`;
  }

  async #claim(
    decision: Accepted,
    { pools }: PoolsNow,
    attachment: Attachment,
    pod: Pod,
    steps: Steps,
  ): Promise<Addressed> {
    const { ledger } = this.#options;
    const { nic, family, cleanGateway, outcome } = decision;
    const candidates = outcome.pools.map((name) => pools.get(name)).filter((pool) => pool !== undefined);
    const ref: PodRef = {
      namespace: pod.metadata.namespace ?? "",
      name: pod.metadata.name,
      uid: uidOf(attachment.pod, pod),
    };
    const { claim } = await steps.run<Claimed>(
      "claim",
      (o) =>
        ledger.claim(
          {
            family,
            pools: candidates,
            holder: { pod: ref, nic, containerId: attachment.containerId, network: this.#networkName },
            answer: (pool) => JSON.stringify(answerOf(pool, cleanGateway)),
          },
          o,
        ),
      {
        of: `${nic}/${family}`,
        undo: (done) => {
          if (done?.fresh) ledger.release(done.claim, { why: "the ADD failed", evidence: [] });
        },
      },
    );
    return addressed(claim);
  }
}

type Accepted = Decision & { readonly family: Family; readonly outcome: { readonly kind: "candidates" } };

function isAccepted(decision: Decision): decision is Accepted {
  return decision.outcome.kind === "candidates" && decision.family !== undefined;
}

/** The runtime's own word for the Pod's UID: for a static Pod it is not the mirror's. */
function uidOf(ref: PodRef | undefined, pod: Pod | undefined): string {
  return ref?.uid || (pod?.metadata.uid ?? "");
}

function answerOf(pool: PoolView, cleanGateway: boolean): Answer {
  return {
    prefix: pool.subnet.bits,
    ...(pool.gateway === undefined ? {} : { gw: formatIp(pool.gateway) }),
    ...(cleanGateway ? { clean: true as const } : {}),
    ...(pool.routes.length === 0
      ? {}
      : { routes: pool.routes.map(({ dst, gw }) => ({ dst: formatPrefix(dst), gw: formatIp(gw) })) }),
  };
}

/** As the claim tells it: whoever has an address keeps what it was given with, whatever became of the pool. */
function addressed({ ip, spec }: Claim): Addressed {
  const { prefix, gw, clean, routes = [] }: Answer = JSON.parse(spec.answer ?? "{}");
  return {
    address: { ip, bits: prefix },
    gateway: gw === undefined ? undefined : parseIp(gw),
    cleanGateway: clean === true,
    routes: routes.map((route) => ({ dst: parsePrefix(route.dst), gw: parseIp(route.gw) })),
  };
}

function namesAt(block: Readonly<Record<string, unknown>>, key: string): readonly string[] {
  const value = block[key] ?? [];
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
  throw new CniError(cniCodes.invalidConfig, "the network configuration has a value that cannot be used", {
    details: { field: `ipam.${key}`, value, allowed: "a list of IPPool names" },
  });
}
