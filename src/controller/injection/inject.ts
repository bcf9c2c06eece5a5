import * as v from "valibot";
import {
  annotations,
  checkInjection,
  formatViolation,
  type InjectionKey,
  injectedResource,
  injectionKeys,
  injectionOrder,
  networkNameOf,
  type SpiderMultusConfig,
} from "#api";
import { keyOf } from "#kube";

const texts = v.record(v.string(), v.string());
const limits = v.record(v.string(), v.union([v.string(), v.number()]));

/** The fields of a Pod that are read here; all others pass unchanged. */
const podSchema = v.looseObject({
  metadata: v.looseObject({ annotations: v.nullish(texts) }),
  spec: v.looseObject({
    hostNetwork: v.nullish(v.boolean()),
    containers: v.array(v.looseObject({ resources: v.nullish(v.looseObject({ limits: v.nullish(limits) })) })),
  }),
});

/** As much of a Pod as injection reads: annotations, and the limits of each container. */
export type InjectedPod = v.InferOutput<typeof podSchema>;

/** Which networks are requested: those whose annotation `key` has this value. */
export interface Injection {
  readonly key: InjectionKey;
  readonly value: string;
}

/** The object as a Pod; undefined if it is not a valid one. */
export function tryParsePod(object: unknown): InjectedPod | undefined {
  const result = v.safeParse(podSchema, object);
  return result.success ? result.output : undefined;
}

/**
 * What a Pod requests by its own annotation or by its namespace's; undefined if nothing. The first key that has a value counts.
 * A Pod on the host's network gets nothing: networks have no effect there, and resources could keep it from being
 * scheduled.
 */
export function injectionOf(pod: InjectedPod, namespace: Readonly<Record<string, string>>): Injection | undefined {
  if (pod.spec.hostNetwork === true) return undefined;
  for (const key of injectionKeys) {
    const value = pod.metadata.annotations?.[key] || namespace[key];
    if (value) return { key, value };
  }
  return undefined;
}

/** The key of an injection in the index `injection` of SpiderMultusConfigs. */
export function injectionIndex({ key, value }: Injection): string {
  return `${key}=${value}`;
}

/** Index keys of every injection that includes this network. */
export function injectionsOf({ metadata }: SpiderMultusConfig): readonly string[] {
  return injectionKeys.flatMap((key) => {
    const value = metadata.annotations?.[key];
    return value && metadata.deletionTimestamp === undefined ? [injectionIndex({ key, value })] : [];
  });
}

/** Either the changed Pod with warnings for its user, or the sentence that refuses it. */
type Injected =
  | { readonly kind: "injected"; readonly pod: InjectedPod; readonly warnings: readonly string[] }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Adds the injection's networks to the Pod, ordered by their masters, and one unit of each network's resource to the first
 * container's limits unless some container requests it already. Idempotent.
 */
export function inject(pod: InjectedPod, wanted: Injection, configs: readonly SpiderMultusConfig[]): Injected {
  const { key, value } = wanted;
  if (configs.length === 0) {
    return refused(
      `no spidermultusconfigs with annotation: ${key}:${value} found; give one this annotation, or take it from the Pod and its namespace`,
    );
  }
  for (const config of configs) {
    const [wrong] = checkInjection(key, config.spec);
    if (wrong) return refused(`SpiderMultusConfig ${keyOf(config.metadata)}: ${formatViolation(wrong)}`);
  }
  const sorted = configs.toSorted((a, b) => compare(placeOf(a), placeOf(b)));
  const networks = formatNetworks(sorted);
  const before = pod.metadata.annotations?.[annotations.networks] ?? "";
  const resources = new Set(sorted.flatMap(({ spec }) => injectedResource(spec) ?? []));
  return {
    kind: "injected",
    pod: {
      ...pod,
      metadata: {
        ...pod.metadata,
        annotations: { ...pod.metadata.annotations, [annotations.networks]: networks },
      },
      spec: { ...pod.spec, containers: withResources(pod.spec.containers, resources) },
    },
    warnings:
      before === "" || before === networks
        ? []
        : [
            `${annotations.networks} was ${JSON.stringify(before)} and is replaced with the networks of ${key}: ${networks}`,
          ],
  };
}

type Containers = InjectedPod["spec"]["containers"];

function withResources(containers: Containers, resources: ReadonlySet<string>): Containers {
  const missing = [...resources].filter(
    (resource) => !containers.some(({ resources: has }) => Object.hasOwn(has?.limits ?? {}, resource)),
  );
  const [first, ...others] = containers;
  if (first === undefined || missing.length === 0) return containers;
  const added = Object.fromEntries(missing.map((resource) => [resource, "1"]));
  return [{ ...first, resources: { ...first.resources, limits: { ...first.resources?.limits, ...added } } }, ...others];
}

/** The networks annotation. A network's name may differ from its SpiderMultusConfig's; names with dots need the JSON form. */
function formatNetworks(configs: readonly SpiderMultusConfig[]): string {
  const networks = configs.map(({ metadata, spec }) => ({
    namespace: metadata.namespace ?? "",
    name: networkNameOf({ metadata, spec }) ?? metadata.name,
  }));
  return networks.some(({ name }) => name.includes("."))
    ? JSON.stringify(networks)
    : networks.map(({ namespace, name }) => `${namespace}/${name}`).join(",");
}

function placeOf({ metadata, spec }: SpiderMultusConfig): readonly [string, string] {
  return [injectionOrder(spec), keyOf(metadata)];
}

function compare([a, keyA]: readonly [string, string], [b, keyB]: readonly [string, string]): number {
  if (a !== b) return a < b ? -1 : 1;
  return keyA < keyB ? -1 : 1;
}

function refused(reason: string): Injected {
  return { kind: "refused", reason };
}
