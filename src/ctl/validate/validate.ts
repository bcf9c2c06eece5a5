import type { Command } from "commander";
import {
  AddressIndex,
  apiGroup,
  apiVersion,
  defaultCoordinator,
  defaultMultusConfig,
  defaultPool,
  defaultReservedIp,
  defaultSubnet,
  formatViolation,
  type Neighbours,
  type SpiderCoordinator,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderReservedIP,
  type SpiderSubnet,
  type Submitted,
  spiderIPPools,
  spiderSubnets,
  subnetNameOf,
  type Violation,
  validateCoordinator,
  validateMultusConfig,
  validatePool,
  validateReservedIp,
  validateSubnet,
} from "#api";
import { hasCode, SpiderError } from "#base";
import { type KubeClient, type KubeObject, keyOf } from "#kube";
import type { Cluster } from "../cluster.ts";
import { exitFailed, exitOk } from "../io.ts";
import { type Manifest, readManifests } from "../manifests.ts";
import { formatItems } from "../output.ts";
import type { Context, Run } from "../run.ts";
import { violationsOfKind } from "../schema/kinds.ts";
import { annotationMistakes, type Wrong } from "./annotations.ts";

/** `validate -f FILE`: finds what the API server, or later the Pods' ADD, would refuse, without sending anything. */
export function addValidateCommand(program: Command, run: Run): void {
  program
    .command("validate")
    .description(
      "find mistakes in manifests, and where: what the API server would refuse, and annotations with which Pods would not start; without a kubeconfig, what a file alone shows",
    )
    .requiredOption("-f, --filename <file>", "the manifests, YAML or JSON, a file or a folder; - is standard input")
    .action(({ filename }: { filename: string }) => run((context) => validate(filename, context)));
}

const ours = `${apiGroup}/${apiVersion}`;

/** The objects that a manifest is compared with: the cluster's, and those of earlier manifests in the file. */
interface Others {
  readonly pools: AddressIndex<SpiderIPPool>;
  readonly subnets: AddressIndex<SpiderSubnet>;
}

/**
 * Prints a line for each of our objects in the file: valid, or all mistakes and their places, by the kind's schema and, if
 * that finds no wrong value, by the rules of admission; and a line for each Pod, Pod template and Namespace with annotations of ours.
 * Skips other objects. The exit status is 1 if one has a mistake.
 */
async function validate(filename: string, context: Context): Promise<number> {
  const { io, output } = context;
  const placed = await readManifests(io, filename);
  const cluster = clusterOf(context);
  const { namespace } = cluster ?? { namespace: context.namespace ?? "default" };
  const isOurs = ({ apiVersion: version }: Manifest) => version === ours;
  const others =
    cluster !== undefined && placed.some(({ manifest }) => isOurs(manifest))
      ? await existing(cluster.client, io.signal)
      : { pools: new AddressIndex<SpiderIPPool>(), subnets: new AddressIndex<SpiderSubnet>() };
  const found = placed.flatMap(({ manifest, placeOf }) => {
    const mistakes = isOurs(manifest) ? judge(manifest, others) : annotationMistakes(manifest, namespace);
    if (mistakes === undefined) return [];
    const problems = mistakes.map((wrong) => ({ ...wrong, place: placeOf(wrong.field) }));
    const object = `${manifest.kind?.toLowerCase()}/${keyOf({ name: "", ...manifest.metadata })}`;
    return [{ manifest, item: { object, valid: problems.length === 0, problems } }];
  });
  if (found.length === 0) {
    const sought = `no object of ${ours}, and no Pod, Pod template or Namespace with annotations of ours`;
    throw new SpiderError("OPTIONS_INVALID", `${filename} has ${sought}`);
  }
  const items = found.map(({ item }) => item);
  const text = formatItems(items, output);
  if (text !== undefined) io.out(text);
  else {
    for (const { manifest, item } of found) {
      const { object, valid, problems } = item;
      if (valid) io.out(output === "name" ? `${resourceName(manifest)}\n` : `${object} is valid\n`);
      for (const { text: what, place } of problems) io.err(`${object}: ${what} (${place})\n`);
    }
  }
  return items.every(({ valid }) => valid) ? exitOk : exitFailed;
}

/** Where there is no kubeconfig, as in a check before a merge, objects of the file are compared with one another alone. */
function clusterOf(context: Context): Cluster | undefined {
  try {
    return context.cluster;
  } catch (error) {
    if (!hasCode(error, "KUBE_CONFIG_MISSING")) throw error;
    context.io.err("No kubeconfig: what the cluster has is not compared.\n");
    return undefined;
  }
}

/** As `kubectl -o name` prints it: `deployment.apps/web`. */
function resourceName({ apiVersion: version = "v1", kind = "", metadata }: Manifest): string {
  const group = version.includes("/") ? `.${version.split("/")[0]}` : "";
  return `${kind.toLowerCase()}${group}/${metadata.name ?? ""}`;
}

function judge(manifest: Manifest, others: Others): readonly Wrong[] {
  const violations = violationsOfKind(manifest);
  const bySchema = violations.map(({ field, message }) => ({ field, text: `${field}: ${message}` }));
  if (!violations.every(({ unknown }) => unknown)) return bySchema;
  const byRules = judgeByRules(manifest, others).map((violation) => ({
    field: violation.field,
    text: formatViolation(violation),
  }));
  return [...bySchema, ...byRules];
}

function judgeByRules(manifest: Manifest, others: Others): readonly Violation[] {
  const { kind = "" } = manifest;
  const judgeKind = Object.hasOwn(judges, kind) ? judges[kind] : undefined;
  if (judgeKind !== undefined) return judgeKind(manifest, others);
  const supported = Object.keys(judges);
  return [{ type: "NotSupported", field: "kind", value: kind, supported }];
}

/** For each kind that users write: fills in defaults, then checks the rules of admission. */
const judges: Readonly<Record<string, (manifest: Manifest, others: Others) => readonly Violation[]>> = {
  SpiderIPPool: (manifest, { pools, subnets }) => {
    const pool = defaultPool(manifest as Submitted<SpiderIPPool>, subnets);
    const owner = subnetNameOf(pool);
    const subnet = owner === undefined ? undefined : subnets.get(owner);
    const found = validatePool(pool, { old: storedOf(pool, pools), others: pools, subnet });
    put(pools, pool);
    return found;
  },
  SpiderSubnet: (manifest, { pools, subnets }) => {
    const subnet = defaultSubnet(manifest as Submitted<SpiderSubnet>);
    const found = validateSubnet(subnet, { old: storedOf(subnet, subnets), others: subnets, pools });
    put(subnets, subnet);
    return found;
  },
  SpiderReservedIP: (manifest) =>
    validateReservedIp(defaultReservedIp(manifest as Submitted<SpiderReservedIP>), { old: undefined }),
  SpiderMultusConfig: (manifest) =>
    validateMultusConfig(defaultMultusConfig(manifest as Submitted<SpiderMultusConfig>), {
      old: undefined,
      network: undefined,
    }),
  SpiderCoordinator: (manifest) => validateCoordinator(defaultCoordinator(manifest as Submitted<SpiderCoordinator>)),
};

/** The stored object of this name, which the manifest would replace. */
function storedOf<T extends KubeObject>({ metadata }: Manifest, all: Neighbours<T>): T | undefined {
  return metadata.name === undefined ? undefined : all.get(metadata.name);
}

/** Adds the object to those that later manifests are compared with, also if it is for the API server to name it. */
function put<T extends SpiderIPPool | SpiderSubnet>(all: AddressIndex<T>, object: Submitted<T>): void {
  const { name = `without a name (${all.size + 1})` } = object.metadata;
  all.put({ ...object, metadata: { ...object.metadata, name } } as T);
}

async function existing(client: KubeClient, signal: AbortSignal): Promise<Others> {
  const [pools, subnets] = await Promise.all([
    Array.fromAsync(client.listAll(spiderIPPools, { signal })),
    Array.fromAsync(client.listAll(spiderSubnets, { signal })),
  ]);
  return { pools: AddressIndex.of(pools), subnets: AddressIndex.of(subnets) };
}
