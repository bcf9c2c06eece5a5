import { trySetOf } from "#api";
import {
  type Family,
  formatIp,
  formatIpSet,
  formatRange,
  IpSet,
  ipFromValue,
  ipValue,
  prefixRange,
  rangeSize,
  sameIp,
} from "#ip";
import {
  annotationKeys,
  type Decision,
  judge,
  type PoolView,
  parseSubnetAnnotations,
  type Rejection,
  rejectionsOf,
  subnetAnnotationKeys,
} from "#ipam";
import type { Claim } from "#ledger";
import { nearest } from "../nearest.ts";
import type { Attempt } from "./attempt.ts";
import { subnetFixes } from "./auto-pools.ts";
import type { Facts, Usage } from "./facts.ts";
import { annotationFix, type Fix, labelFix, patchCommand, shellLine } from "./fix.ts";
import type { NicReport } from "./nic-report.ts";
import { selectionOf } from "./scene.ts";

/** How many addresses are added to a full pool at most: one range of free addresses. */
const extension = 16n;
/** How many foreign hosts one fix names. */
const hostsMax = 5;

/** The fixes for a NIC that gets no address, the likeliest first. */
export function poolFixes(facts: Facts, usage: Usage, attempt: Attempt, report: NicReport): readonly Fix[] {
  const refused = report.decisions.find(({ outcome }) => outcome.kind === "refused");
  if (refused !== undefined && refused.steps.length === 0) {
    if (refused.outcome.kind === "refused" && refused.outcome.code === "AUTO_POOL_PENDING") {
      return subnetFixes(facts, report.nic);
    }
    return elsewhere(facts, attempt, report, refused);
  }
  if (refused !== undefined) {
    const passed = report.pools.filter(({ family, state }) => family === refused.family && state === "passed");
    return [
      ...passed.flatMap(({ pool }) => letIn(facts, attempt, report, refused, pool) ?? []),
      ...elsewhere(facts, attempt, report, refused),
    ];
  }
  const used = report.pools.filter(({ state }) => state === "used");
  const decision = report.decisions.find(({ family }) => family === used[0]?.family);
  return [
    ...used.flatMap(({ pool }) => foreignHosts(usage, pool)),
    ...used.slice(0, 1).flatMap(({ pool }) => extend(facts, usage, pool) ?? []),
    ...(decision === undefined ? [] : elsewhere(facts, attempt, report, decision)),
  ];
}

/** Names foreign hosts that use addresses of the pool: either they or the addresses must go. */
function foreignHosts(usage: Usage, pool: string): readonly Fix[] {
  const held = (usage.get(pool) ?? []).filter(
    ({ spec: { purpose, mac } }) => purpose === "Quarantine" && mac !== undefined,
  );
  if (held.length === 0) return [];
  const hosts = Map.groupBy(held, ({ spec }) => spec.mac);
  const shown = Array.from(hosts, ([mac, claims]) => `${mac}: ${addressesOf(claims).join(", ")}`);
  const more = shown.length > hostsMax ? `; and ${shown.length - hostsMax} more` : "";
  const list = `${shown.slice(0, hostsMax).join("; ")}${more}`;
  return [
    { text: `find the hosts that answer for addresses of IPPool ${pool} (${list}), or take these addresses out of it` },
  ];
}

function addressesOf(claims: readonly Claim[]): readonly string[] {
  const families = Map.groupBy(claims, ({ ip }) => ip.family);
  return [...families].flatMap(([family, some]) =>
    formatIpSet(
      IpSet.ofIps(
        family,
        some.map(({ ip }) => ip),
      ),
    ),
  );
}

/** Adds addresses of the pool's subnet that no pool, reservation, gateway or claim has. */
function extend(facts: Facts, usage: Usage, name: string): Fix | undefined {
  const view = facts.pools.get(name);
  const object = facts.poolObjects.get(name);
  if (view === undefined || object === undefined) return undefined;
  if (view.auto) return askForMore(facts, name);
  // To add what the pool excludes would change nothing.
  const excluded = trySetOf(object.spec.excludeIPs, view.family) ?? IpSet.empty(view.family);
  const free = unusedIn(view, facts, usage).subtract(excluded);
  // After the pool's last address: at the beginning of a network there are often hosts that the cluster does not know.
  const first = (view.set.last && free.atOrAfter(view.set.last)) ?? free.first;
  const run = first && free.rangeOf(first);
  if (first === undefined || run === undefined) return undefined;
  const left = rangeSize({ first, last: run.last });
  const last = ipFromValue(view.family, ipValue(first) + (left < extension ? left : extension) - 1n);
  const added = sameIp(first, last) ? formatIp(first) : formatRange({ first, last });
  const patch = { spec: { ips: [...(object.spec.ips ?? []), added] } };
  return {
    text: `add addresses to IPPool ${name}, if nothing outside the cluster uses ${added}`,
    command: patchCommand(["spiderippool", name], patch),
  };
}

/** Lets an application's pool have an address more: its `ips` follow the application's annotation and cannot be edited. */
function askForMore(facts: Facts, pool: string): Fix | undefined {
  const asked = parseSubnetAnnotations(facts.pod.annotations)?.ipNumber;
  const { count, flexible } = asked ?? { count: facts.installation.settings.redundantIpNumber, flexible: true };
  const { replicas = 1 } = facts.workload?.spec ?? {};
  const more = flexible ? count + 1 : Math.max(1, count + 1 - replicas);
  const text = `ask for ${more} more than replicas for IPPool ${pool}`;
  return annotationFix(facts, text, { [subnetAnnotationKeys.ipNumber]: `+${more}` });
}

function unusedIn({ family, subnet, gateway }: PoolView, { pools, reserved }: Facts, usage: Usage): IpSet {
  const { first, last } = prefixRange(subnet);
  const others = [...pools.values()].filter((pool) => pool.family === family).map(({ set }) => set);
  const claimed = [...usage.values()].flat().flatMap(({ ip }) => (ip.family === family ? [ip] : []));
  // The network and the broadcast address belong to nobody, and the first address often to a router.
  const taken = IpSet.ofIps(family, [first, ipFromValue(family, ipValue(first) + 1n), last, ...claimed]);
  const withGateway = gateway === undefined ? taken : taken.add(gateway);
  return [...others, reserved(family), withGateway].reduce(
    (left, set) => left.subtract(set),
    IpSet.of(family, [{ first, last }]),
  );
}

/** Lets the Pod use a pool that was passed over; undefined if no change of the pool and of labels is enough for that. */
function letIn(facts: Facts, { node }: Attempt, { nic }: NicReport, decision: Decision, pool: string): Fix | undefined {
  const view = facts.pools.get(pool);
  if (view === undefined || decision.family === undefined) return undefined;
  const isNamed = decision.rule === "ippool" || decision.rule === "ippools" || decision.rule === "namespace";
  const strict = isNamed && facts.installation.settings.enableStrictIPPoolScope;
  const input = { ...selectionOf(facts, node, nic), family: decision.family, strict };
  const ways = rejectionsOf(view, input).map((rejection) => wayPast(facts, node, view, rejection));
  const known = ways.filter((way) => way !== undefined);
  if (known.length < ways.length) return undefined;
  const changes = known.flatMap(({ change }) => change ?? []);
  const spec = Object.assign({}, ...changes) as object;
  const patch = changes.length === 0 ? [] : [patchCommand(["spiderippool", pool], { spec })];
  return {
    text: known.map(({ text }) => text).join(", and "),
    command: [...patch, ...known.flatMap(({ command }) => command ?? [])].join(" && "),
  };
}

/** What lets a pool pass one check: a change of its spec, or a command. */
interface Way {
  readonly text: string;
  readonly change?: object;
  readonly command?: string;
}

function wayPast(facts: Facts, node: string, view: PoolView, { check, found }: Rejection): Way | undefined {
  const { pod } = facts;
  const { name: pool } = view;
  switch (check) {
    case "disabled":
      return { text: `enable IPPool ${pool}`, change: { disable: false } };
    case "nodeName":
      return { text: `let node ${node} use IPPool ${pool}`, change: { nodeName: [...view.nodeName, node] } };
    case "scope":
      // It is for all namespaces by now where it is a default.
      return {
        text: `let namespace ${pod.namespace}, and no other one, use IPPool ${pool}`,
        change: { namespaceName: [pod.namespace] },
      };
    case "namespaceName":
      return {
        text: `let namespace ${pod.namespace} use IPPool ${pool}`,
        change: { namespaceName: [...view.namespaceName, pod.namespace] },
      };
    case "multusName": {
      const nad = found.split(" of NIC ")[0] ?? "";
      if (nad === "(none)") return undefined;
      return { text: `let network ${nad} use IPPool ${pool}`, change: { multusName: [...view.multusName, nad] } };
    }
    case "nodeAffinity":
      return labelFix(["node", node], view.nodeAffinity, `IPPool ${pool}`);
    case "namespaceAffinity":
      return labelFix(["namespace", pod.namespace], view.namespaceAffinity, `IPPool ${pool}`);
    case "podAffinity":
      // The labels of an application's Pods select more than pools: only a person should change them.
      if (facts.owner !== undefined || pod.state === "new" || view.auto) return undefined;
      return labelFix(["pod", "-n", pod.namespace, pod.name], view.podAffinity, `IPPool ${pool}`);
    default:
      return undefined;
  }
}

/** Lets the Pod use another pool, one that it may use and that has addresses. */
function elsewhere(facts: Facts, attempt: Attempt, report: NicReport, decision: Decision): readonly Fix[] {
  const found = usable(facts, attempt, report, decision);
  if (found.size === 0) return [];
  const text = `use IPPool ${[...found.values()].join(" and ")}`;
  if (decision.rule === "namespace") return [namespaceFix(facts, text, found)];
  const names = { ...poolsOf(facts, attempt, report), ...byKey(found) };
  if (decision.rule !== "ippools") {
    // The annotations about subnets would win over it.
    const { subnet, subnets } = subnetAnnotationKeys;
    const inTheWay = [subnet, subnets].filter((key) => facts.pod.annotations[key] !== undefined);
    const removed = Object.fromEntries(inTheWay.map((key) => [key, undefined]));
    return [annotationFix(facts, text, { [annotationKeys.ippool]: JSON.stringify(names), ...removed })];
  }
  // The annotation must name all NICs.
  const items = attempt.nics
    .filter(({ managed }) => managed)
    .map((one) => ({ interface: one.nic, ...(one.nic === report.nic ? names : poolsOf(facts, attempt, one)) }));
  return [annotationFix(facts, text, { [annotationKeys.ippools]: JSON.stringify(items) })];
}

/** The pools that a NIC names or, in the place of those that are refused or used up, others that it could have. */
function poolsOf(facts: Facts, attempt: Attempt, report: NicReport): Readonly<Record<string, readonly string[]>> {
  const named = report.decisions.filter(({ family }) => family !== undefined);
  const others = report.decisions.filter((one) => fails(report, one)).map((one) => usable(facts, attempt, report, one));
  return {
    ...Object.fromEntries(named.map((one) => [`ipv${one.family}`, one.named])),
    ...Object.assign({}, ...others.map(byKey)),
  };
}

/** Whether the NIC gets no address by this decision. */
function fails({ pools }: NicReport, { outcome, family }: Decision): boolean {
  if (outcome.kind === "refused") return true;
  return outcome.pools.every((name) =>
    pools.some((one) => one.pool === name && one.family === family && one.state === "used"),
  );
}

function byKey(found: ReadonlyMap<Family, string>): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Array.from(found, ([family, pool]) => [`ipv${family}`, [pool]]));
}

/** For each family that the Pod asks for, the usable pool whose name is nearest to the one that was asked for. */
function usable(facts: Facts, { node }: Attempt, report: NicReport, decision: Decision): ReadonlyMap<Family, string> {
  const { nic, pools: reports } = report;
  // Claims were read for some pools only. Of the others the status tells, which lags a little.
  const isUsedUp = ({ name }: PoolView) => reports.some(({ pool, state }) => pool === name && state === "used");
  const { ippool, ippools } = annotationKeys;
  const { subnet, subnets } = subnetAnnotationKeys;
  const keys = decision.rule === "ippools" ? [ippools] : decision.rule === "subnet" ? [subnets, subnet] : [ippool];
  const text = keys.map((key) => facts.pod.annotations[key]).find((one) => one !== undefined) ?? "";
  const { families, settings } = facts.installation;
  const mentioned = families.filter((family) => text.includes(`ipv${family}`));
  const wanted = decision.family === undefined ? mentioned : [decision.family];
  const found = (wanted.length > 0 ? wanted : families).flatMap((family) => {
    const input = { ...selectionOf(facts, node, nic), family, strict: settings.enableStrictIPPoolScope };
    const names = [...facts.pools.values()]
      .filter((pool) => pool.family === family && !pool.auto && judge(pool, input).accepted)
      .filter((pool) => !isUsedUp(pool) && hasRoom(facts, pool))
      .map(({ name }) => name);
    const pool = nearest(askedName(decision), names);
    return pool === undefined ? [] : [[family, pool] as const];
  });
  return new Map(wanted.length > 0 ? found : found.slice(0, 1));
}

/** Whether the pool has free addresses by its status. It may lag: the ADD itself decides. */
function hasRoom({ poolObjects, reserved }: Facts, { name, family, set }: PoolView): boolean {
  const used = BigInt(poolObjects.get(name)?.status?.allocatedIPCount ?? 0);
  return set.subtract(reserved(family)).size > used;
}

/** The name of the pool that was asked for: from the decision or, if no such pool exists, from its sentence. */
function askedName({ named, outcome }: Decision): string {
  const [first] = named;
  if (first !== undefined || outcome.kind !== "refused") return first ?? "";
  return /IPPool "?([\w.-]+)/.exec(outcome.message)?.[1] ?? "";
}

function namespaceFix({ pod }: Facts, text: string, found: ReadonlyMap<Family, string>): Fix {
  const keys = { 4: annotationKeys.defaultIpv4, 6: annotationKeys.defaultIpv6 };
  const words = Array.from(found, ([family, pool]) => `${keys[family]}=${JSON.stringify([pool])}`);
  return {
    text: `${text} for namespace ${pod.namespace}`,
    command: shellLine(["kubectl", "annotate", "namespace", pod.namespace, "--overwrite", ...words]),
  };
}
