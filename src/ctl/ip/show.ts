import { labelValue, spiderIPAddresses, spiderIPPools } from "#api";
import { formatError, SpiderError } from "#base";
import { claimName, compareIp, formatIp, parseIp } from "#ip";
import { type KubeObject, keyOf, metadataOf, nodes, type Resource } from "#kube";
import { type Claim, claimOf } from "#ledger";
import type { Cluster } from "../cluster.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatAge, formatRows, type Printer } from "../output.ts";
import { type PodName, parsePodName } from "../pod-name.ts";
import type { Context } from "../run.ts";

/** Which claims to show. An absent part selects all. */
interface IpSelection {
  readonly addresses: readonly string[];
  readonly pool?: string | undefined;
  readonly node?: string | undefined;
  /** `[namespace/]name` */
  readonly pod?: string | undefined;
}

/**
 * Prints the claims that are selected, by address. The exit status is 1 if an address that was named is free, or a pool or node
 * that was named does not exist and nothing is found.
 */
export async function showIps(selection: IpSelection, { io, cluster, output }: Context): Promise<number> {
  const holder = selection.pod === undefined ? undefined : parsePodName(selection.pod, cluster.namespace);
  const { found, free } = await selectClaims(selection, holder, cluster, io.signal);
  const absent = found.length === 0 ? await absentOf(selection, cluster, io.signal) : [];
  const nothing = `No addresses are in use${whichOf(selection, holder)}.`;
  const printer = claimPrinter(cluster.clock.wall(), nothing);
  const text = formatRows(found, printer, output);
  if (text !== undefined) io.out(text);
  else if (free.length === 0) io.err(`${printer.nothing}\n`);
  for (const sentence of absent) io.err(`${sentence}\n`);
  for (const address of free) io.err(`${address} is not claimed: no Pod holds it\n`);
  return free.length + absent.length === 0 ? exitOk : exitFailed;
}

/** Which of the named objects do not exist: then a misspelt name is likelier than a pool that nobody draws from. */
async function absentOf(
  { pool, node }: IpSelection,
  { client }: Cluster,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const isThere = async <T extends KubeObject>(kind: Resource<T>, name: string) =>
    (await client.get(metadataOf(kind), { name }, { signal })) !== undefined;
  return [
    ...(pool === undefined || (await isThere(spiderIPPools, pool)) ? [] : [`There is no IPPool ${pool}.`]),
    ...(node === undefined || (await isThere(nodes, node)) ? [] : [`There is no node ${node}.`]),
  ];
}

/** ` of Pod a/b, on node c`; empty if all are selected. */
function whichOf({ addresses, pool, node }: IpSelection, holder: PodName | undefined): string {
  const parts = [
    ...(addresses.length === 0 ? [] : [`among ${addresses.join(", ")}`]),
    ...(pool === undefined ? [] : [`of IPPool ${pool}`]),
    ...(holder === undefined ? [] : [`of Pod ${keyOf(holder)}`]),
    ...(node === undefined ? [] : [`on node ${node}`]),
  ];
  return parts.length === 0 ? "" : ` ${parts.join(", ")}`;
}

/** The claims that fit, by address, and those of the named addresses that nobody has. */
async function selectClaims(
  { addresses, pool, node }: IpSelection,
  holder: PodName | undefined,
  { client }: Cluster,
  signal: AbortSignal,
): Promise<{ readonly found: readonly Claim[]; readonly free: readonly string[] }> {
  const isWanted = ({ spec }: Claim) =>
    (pool === undefined || spec.pool === pool) &&
    (node === undefined || spec.node === node) &&
    (holder === undefined || (spec.podNamespace === holder.namespace && spec.podName === holder.name));
  const found: Claim[] = [];
  const free: string[] = [];
  for (const ip of addresses.map(parseAddress)) {
    const object = await client.get(spiderIPAddresses, { name: claimName(ip) }, { signal });
    const claim = object && claimOf(object);
    if (claim === undefined) free.push(formatIp(ip));
    else if (isWanted(claim)) found.push(claim);
  }
  if (addresses.length === 0) {
    const labels = Object.entries({ pool, node }).flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${labelValue(value)}`],
    );
    const o = { signal, ...(labels.length > 0 && { labelSelector: labels.join(",") }) };
    for await (const object of client.listAll(spiderIPAddresses, o)) {
      const claim = claimOf(object);
      if (claim !== undefined && isWanted(claim)) found.push(claim);
    }
  }
  return { found: found.toSorted((a, b) => compareIp(a.ip, b.ip)), free };
}

/** An address of the command line. Throws OPTIONS_INVALID. */
export function parseAddress(text: string): Claim["ip"] {
  try {
    return parseIp(text);
  } catch (cause) {
    throw new SpiderError("OPTIONS_INVALID", `"${text}" is no IP address: ${formatError(cause)}`, { cause });
  }
}

/** `Pod default/web-0`, or what else keeps the address. */
export function holderOf({ spec }: Pick<Claim, "spec">): string {
  const pod = spec.podName === undefined ? "" : `${spec.podNamespace}/${spec.podName}`;
  return pod === "" ? (spec.reason ?? "") : pod;
}

/** For an address in quarantine, the host that answers for it, if it is known; otherwise the holder of the claim. */
function usedBy(claim: Claim): string {
  const { purpose, mac, reason } = claim.spec;
  if (purpose !== "Quarantine") return holderOf(claim);
  return mac === undefined ? (reason ?? holderOf(claim)) : `another host, ${mac}`;
}

function claimPrinter(now: Date, nothing: string): Printer<Claim> {
  const age = ({ spec }: Claim) =>
    spec.since === undefined ? "<unknown>" : formatAge(now.getTime() - Date.parse(spec.since));
  return {
    columns: [
      { header: "ADDRESS", value: ({ ip }) => formatIp(ip) },
      { header: "PURPOSE", value: ({ spec }) => spec.purpose },
      { header: "POOL", value: ({ spec }) => spec.pool },
      { header: "HELD BY", value: usedBy },
      { header: "NIC", value: ({ spec }) => spec.nic ?? "" },
      { header: "NODE", value: ({ spec }) => spec.node ?? "" },
      { header: "AGE", value: age },
      { header: "UNTIL", value: ({ spec }) => spec.until ?? "", wide: true },
      { header: "OWNER", value: ({ spec }) => spec.owner ?? "", wide: true },
      { header: "POD UID", value: ({ spec }) => spec.podUID ?? "", wide: true },
      { header: "CONTAINER", value: ({ spec }) => (spec.containerID ?? "").slice(0, 12), wide: true },
    ],
    name: ({ name }) => `spideripaddress.spiderpool.spidernet.io/${name}`,
    json: ({ spec, uid }) => ({ ...spec, uid }),
    nothing,
  };
}
