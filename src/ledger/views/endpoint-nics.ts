import type { SpiderEndpointIp } from "#api";
import { formatIp, formatPrefix, type Prefix, prefixContains } from "#ip";
import type { Route } from "#ipam";
import { answerOf } from "../claims/answer.ts";
import type { Claim } from "../claims/claim.ts";

/**
 * One entry for each NIC, both families merged; eth0 first, then by name. `asked`: the routes of the Pod's annotation; each is
 * shown at the first NIC whose subnet contains its gateway, where it takes effect.
 */
export function endpointNics(claims: readonly Claim[], asked: readonly Route[] = []): readonly SpiderEndpointIp[] {
  const nics = new Map<string, SpiderEndpointIp>();
  const subnets: { readonly nic: string; readonly subnet: Prefix }[] = [];
  for (const { spec, ip } of claims) {
    const nic = spec.nic ?? "";
    const answer = answerOf(spec);
    subnets.push({ nic, subnet: { ip, bits: answer.prefix } });
    const gateway =
      answer.gw === undefined ? {} : { [`ipv${ip.family}Gateway`]: answer.gw, cleanGateway: answer.clean ?? false };
    nics.set(nic, {
      ...withRoutes(nics.get(nic), answer.routes ?? []),
      interface: nic,
      vlan: 0, // what the server would fill in: what is read is then what was written
      [`ipv${ip.family}`]: `${formatIp(ip)}/${answer.prefix}`,
      [`ipv${ip.family}Pool`]: spec.pool,
      ...gateway,
    });
  }
  const ordered = nicsInOrder([...nics.values()]);
  const isOf = (nic: string, { gw }: Route) => subnets.some((one) => one.nic === nic && prefixContains(one.subnet, gw));
  const owners = asked.map((route) => ordered.find((nic) => isOf(nic.interface, route)));
  return ordered.map((nic) => {
    const own = asked.filter((_, at) => owners[at] === nic);
    const routes = own.map(({ dst, gw }) => ({ dst: formatPrefix(dst), gw: formatIp(gw) }));
    return { ...nic, ...withRoutes(nic, routes) };
  });
}

/** What a SpiderEndpoint says besides its NICs. */
interface EndpointOf {
  readonly name: string;
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly node: string;
  readonly ips: readonly SpiderEndpointIp[];
  /** The outermost one; undefined for a Pod without one. */
  readonly owner: { readonly kind: string; readonly name: string } | undefined;
  /** Whether it outlives the Pod, as the index of addresses that are kept. */
  readonly isKept: boolean;
}

/** A SpiderEndpoint to be created. */
export function endpointDraft({ name, pod, node, ips, owner, isKept }: EndpointOf) {
  const { namespace, uid } = pod;
  return {
    metadata: {
      namespace,
      name,
      ownerReferences: isKept ? [] : [{ apiVersion: "v1", kind: "Pod", name: pod.name, uid }],
    },
    status: {
      current: { uid, node, ips },
      ownerControllerType: owner?.kind ?? "Pod",
      ownerControllerName: owner?.name ?? pod.name,
    },
  };
}

function withRoutes(
  nic: Partial<SpiderEndpointIp> | undefined,
  more: NonNullable<SpiderEndpointIp["routes"]>,
): Partial<SpiderEndpointIp> {
  const routes = [...(nic?.routes ?? []), ...more];
  return { ...nic, ...(routes.length > 0 && { routes }) };
}

/** The order in which a SpiderEndpoint lists its NICs: eth0 first, then by name. */
export function nicsInOrder(nics: readonly SpiderEndpointIp[]): readonly SpiderEndpointIp[] {
  const rank = ({ interface: name }: SpiderEndpointIp) => (name === "eth0" ? "" : name);
  return nics.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}
