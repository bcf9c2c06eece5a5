import * as v from "valibot";
import type { Settings, SpiderEndpoint } from "#api";
import { formatError, type JsonObject, type Logger, type Signal } from "#base";
import { CniError, type CniRequest, type CniResult, checkContainerId, checkIfName } from "#cni";
import { formatIp, formatPrefix, type Ip } from "#ip";
import type { Pod } from "#kube";
import type { Claim } from "#ledger";
import type { ClusterConfig } from "#plugins";
import { ownIpam } from "../sandboxes/chain.ts";
import { type ApiRequest, HttpError, type Routes } from "./api.ts";

/** The CNI version of the calls that this API makes to the rest of the agent. */
const cniVersion = "1.0.0";
const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const pools = v.nullish(v.array(v.string()), []);
const flag = v.nullish(v.boolean(), false);

const nicArgs = v.object({
  containerID: text,
  ifName: text,
  netNamespace: v.nullish(v.string(), ""),
  podNamespace: text,
  podName: text,
  podUID: v.string(),
});
const addArgs = v.object({
  ...nicArgs.entries,
  netNamespace: text,
  defaultIPv4IPPool: pools,
  defaultIPv6IPPool: pools,
  cleanGateway: flag,
  matchMasterSubnet: flag,
});
const batchArgs = v.object({
  containerID: text,
  podNamespace: text,
  podName: text,
  podUID: v.string(),
  netNamespace: v.nullish(v.string(), ""),
  isReleaseConflictIPs: flag,
});
const podArgs = v.object({ podName: text, podNamespace: text });

/** The parts of the agent that the IPAM API uses. */
export interface IpamApiOptions {
  /** Runs an ADD or a DEL of the IPAM plugin among the runtime's calls. Returns the result of an ADD. */
  readonly perform: (request: CniRequest, o: Signal) => Promise<CniResult>;
  readonly claimsOf: (pod: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
  }) => readonly Claim[];
  /** Releases an address. */
  readonly release: (claim: Claim, why: string) => void;
  /** Puts an address that somebody else uses in quarantine. */
  readonly quarantine: (claim: Claim, o: Signal) => Promise<void>;
  /** Removes addresses from the Pod's endpoint. */
  readonly withdraw: (pod: Pod, claims: readonly Claim[], o: Signal) => Promise<void>;
  readonly podOf: (namespace: string, name: string) => Pod | undefined;
  readonly endpointOf: (namespace: string, name: string, o: Signal) => Promise<SpiderEndpoint | undefined>;
  /** Whether the Pod's addresses outlive it. */
  readonly isSticky: (pod: Pod) => boolean;
  readonly coordinatorConfig: (
    pod: { readonly namespace: string; readonly name: string },
    o: Signal,
  ) => Promise<ClusterConfig>;
  readonly settings: Pick<Settings, "enableGatewayDetection" | "enableIPConflictDetection">;
  /** SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS. */
  readonly mayGiveBack: boolean;
  readonly log: Logger;
}

/**
 * The part of the agent's HTTP API that third-party plugins of the earlier Spiderpool use, with the same paths, bodies and
 * status codes. Requests are ordered with the runtime's calls.
 *
 * @param serving throws if the agent does not serve yet
 */
export function ipamRoutes(serving: () => IpamApiOptions): Routes {
  return {
    "GET /v1/ipam/healthy": () => void serving(),
    "POST /v1/ipam/ip": (request) => allocate(decode(addArgs, request), request, serving()),
    "DELETE /v1/ipam/ip": (request) => release(decode(nicArgs, request), request, serving()),
    "POST /v1/ipam/ips": () => void serving(),
    "DELETE /v1/ipam/ips": (request) => giveBack(decode(batchArgs, request), request, serving()),
    "GET /v1/workloadendpoint": (request) => workload(request, serving()),
    "GET /v1/coordinator/config": (request) => coordinator(decode(podArgs, request), request, serving()),
  };
}

async function coordinator(
  { podName: name, podNamespace: namespace }: v.InferOutput<typeof podArgs>,
  o: Signal,
  { podOf, coordinatorConfig }: IpamApiOptions,
): Promise<object> {
  if (podOf(namespace, name) === undefined) throw new Error(`failed to get pod ${namespace}/${name}`);
  const { mode = "auto", tunePodRoutes = true, ...config } = await coordinatorConfig({ namespace, name }, o);
  return { mode, tunePodRoutes, ...config };
}

type NicArgs = v.InferOutput<typeof nicArgs>;
type AddArgs = v.InferOutput<typeof addArgs>;

async function allocate(args: AddArgs, o: Signal, options: IpamApiOptions): Promise<object> {
  const { perform, claimsOf, settings } = options;
  const ipam = {
    default_ipv4_ippool: args.defaultIPv4IPPool,
    default_ipv6_ippool: args.defaultIPv6IPPool,
    clean_gateway: args.cleanGateway,
    match_master_subnet: args.matchMasterSubnet,
  };
  const { ips, routes } = await perform(requestOf("ADD", args, ipam), o);
  const claims = claimsOf({ namespace: args.podNamespace, name: args.podName, uid: args.podUID });
  const poolOf = (ip: Ip) => claims.find((claim) => formatIp(claim.ip) === formatIp(ip))?.spec.pool;
  return {
    ips: ips.map(({ address, gateway }) => ({
      version: address.ip.family,
      address: formatPrefix(address),
      ...(gateway && { gateway: formatIp(gateway) }),
      ipPool: poolOf(address.ip), // JSON leaves out what is unknown.
      nic: args.ifName,
      ...(settings.enableGatewayDetection && { enableGatewayDetection: true }),
      ...(settings.enableIPConflictDetection && { enableIPConflictDetection: true }),
    })),
    routes:
      routes.length === 0
        ? null
        : routes.map(({ dst, gw }) => ({
            ifName: args.ifName,
            dst: formatPrefix(dst),
            ...(gw !== undefined && { gw: formatIp(gw) }),
          })),
  };
}

async function release(args: NicArgs, o: Signal, { perform }: IpamApiOptions): Promise<void> {
  await perform(requestOf("DEL", args, {}), o);
}

/**
 * Takes back addresses that a plugin returns after its ADD; the Pod's next ADD chooses again. Addresses that it found in use by
 * somebody else go into quarantine, because that ADD would get the same ones otherwise. All others are released at once.
 */
async function giveBack(args: v.InferOutput<typeof batchArgs>, o: Signal, options: IpamApiOptions): Promise<void> {
  const { podOf, claimsOf, isSticky, mayGiveBack, log } = options;
  const { podNamespace: namespace, podName: name } = args;
  const pod = podOf(namespace, name);
  const uid = args.podUID || (pod?.metadata.uid ?? "");
  if (uid === "") return;
  if (args.isReleaseConflictIPs && !mayGiveBack) {
    throw new HttpError(521, "forbid releasing IPs for stateless workload");
  }
  // The space at the end is intended, because plugins may compare the whole body.
  if (pod !== undefined && isSticky(pod)) throw new HttpError(522, "forbid releasing IPs for stateful workload ");
  const held = claimsOf({ namespace, name, uid }).filter((claim) => claim.spec.containerID === args.containerID);
  const { isReleaseConflictIPs: conflict, containerID: containerId } = args;
  // First, so that nobody takes an address in the endpoint for the Pod's when another Pod may already have it.
  if (pod !== undefined) await options.withdraw(pod, held, { signal: o.signal });
  for (const claim of held) {
    if (conflict) await options.quarantine(claim, { signal: o.signal });
    else options.release(claim, "given back by the plugin that asked for it");
  }
  log.info(
    { pod: `${namespace}/${name}`, containerId, conflict, ips: held.map((one) => formatIp(one.ip)) },
    "addresses given back",
  );
}

async function workload({ query, signal }: ApiRequest, { endpointOf }: IpamApiOptions): Promise<object> {
  const namespace = query.get("podNamespace") ?? "";
  const name = query.get("podName") ?? "";
  if (namespace === "" || name === "") throw new HttpError(400, "podNamespace and podName are needed");
  const endpoint = await endpointOf(namespace, name, { signal });
  if (endpoint === undefined) throw new HttpError(404, `SpiderEndpoint not found for pod ${namespace}/${name}`);
  const { uid, node, ips } = endpoint.status.current;
  return {
    podNamespace: namespace,
    podName: name,
    podUID: uid,
    node,
    interfaces: ips.map(({ vlan, cleanGateway: _clean, routes, ...nic }) => ({
      ...nic,
      ...(vlan !== undefined && vlan !== 0 && { vlan }),
      ...(routes !== undefined && { routes: routes.map((route) => ({ ifName: nic.interface, ...route })) }),
    })),
  };
}

function requestOf(verb: "ADD" | "DEL", args: NicArgs, ipam: JsonObject): CniRequest {
  const {
    containerID: containerId,
    ifName,
    netNamespace: netns,
    podNamespace: namespace,
    podName: name,
    podUID: uid,
  } = args;
  const raw = { cniVersion, name: ownIpam, type: ownIpam, ipam: { ...ipam, type: ownIpam } };
  refuse422(() => {
    checkContainerId(containerId);
    checkIfName(ifName);
  });
  return {
    verb,
    executable: ownIpam,
    containerId,
    ifName,
    netns,
    netnsOverride: false,
    path: [],
    args: new Map(),
    pod: { namespace, name, uid },
    config: { cniVersion, name: ownIpam, type: ownIpam, raw },
  };
}

function refuse422(act: () => void): void {
  try {
    act();
  } catch (error) {
    throw new HttpError(422, error instanceof CniError ? `${error.message}: ${error.text}` : formatError(error));
  }
}

/** Throws 422 naming each field that is wrong. */
function decode<S extends v.GenericSchema>(schema: S, { body }: ApiRequest): v.InferOutput<S> {
  const found = v.safeParse(schema, body ?? {});
  if (found.success) return found.output;
  const wrong = found.issues.map((issue) => `${v.getDotPath(issue) ?? "body"}: ${issue.message}`);
  throw new HttpError(422, wrong.join("; "));
}

/** A Pod's flight records, newest last: `?pod=namespace/name`, or all. */
export function selectFlights<F extends { readonly pod: string }>(
  flights: readonly F[],
  query: URLSearchParams,
): readonly F[] {
  const pod = query.get("pod");
  if (pod === null) return flights;
  if (!/^[^/]+\/[^/]+$/.test(pod)) throw new HttpError(400, `pod is ${JSON.stringify(pod)}, namespace/name is needed`);
  return flights.filter((flight) => flight.pod === pod);
}
