import { annotations } from "#api";
import { isJsonObject } from "#base";
import { sentenceOf } from "#cni";
import {
  parseIppoolAnnotation,
  parseIppoolsAnnotation,
  parseNamespaceDefaults,
  parseRoutesAnnotation,
  parseSubnetAnnotations,
  refuseRepeated,
} from "#ipam";
import { parseDefaultNetwork, parseNetworks } from "#multus";
import type { Manifest } from "../manifests.ts";
import { nearest } from "../nearest.ts";
import { memberOf, templateIn } from "../pod-template.ts";

/** One mistake in a manifest. */
export interface Wrong {
  /** Its place: `spec.template.metadata.annotations[ipam.spidernet.io/ippool]`. */
  readonly field: string;
  /** The message, with the field. */
  readonly text: string;
}

const prefix = "ipam.spidernet.io/";

/** Annotations of a Pod, and of a Namespace, that somebody reads; `dns` is a known name without a meaning. */
const known = {
  pod: [
    ...[annotations.ippool, annotations.ippools, annotations.routes, annotations.subnet, annotations.subnets],
    ...[annotations.poolIpNumber, annotations.poolReclaim, annotations.defaultRouteNic, `${prefix}dns`],
    ...[annotations.networks, annotations.defaultNetwork],
  ],
  namespace: [annotations.defaultIpv4Pools, annotations.defaultIpv6Pools],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type Notes = Readonly<Record<string, string>>;

/** What reads an annotation, or several of which this is the first, and throws what the Pod's ADD would fail with. */
const readers: Readonly<
  Record<keyof typeof known, Readonly<Record<string, (notes: Notes, namespace: string) => unknown>>>
> = {
  pod: {
    [annotations.ippool]: (notes) => refuseRepeatedPools(parseIppoolAnnotation(notes), "eth0"),
    [annotations.ippools]: (notes) => {
      for (const [at, { nic, pools }] of parseIppoolsAnnotation(notes)?.entries() ?? [])
        refuseRepeatedPools(pools, nic ?? (at === 0 ? "eth0" : `net${at}`));
    },
    [annotations.routes]: parseRoutesAnnotation,
    [annotations.subnet]: parseSubnetAnnotations,
    [annotations.networks]: ({ [annotations.networks]: text = "" }, namespace) => parseNetworks(text, namespace),
    [annotations.defaultNetwork]: ({ [annotations.defaultNetwork]: text }, namespace) =>
      text && parseDefaultNetwork(text, namespace),
  },
  namespace: {
    [annotations.defaultIpv4Pools]: ({ [annotations.defaultIpv6Pools]: _, ...notes }) =>
      refuseRepeatedPools(parseNamespaceDefaults(notes), "eth0"),
    [annotations.defaultIpv6Pools]: ({ [annotations.defaultIpv4Pools]: _, ...notes }) =>
      refuseRepeatedPools(parseNamespaceDefaults(notes), "eth0"),
  },
};

function refuseRepeatedPools(pools: ReturnType<typeof parseIppoolAnnotation>, nic: string): void {
  for (const names of [pools?.[4], pools?.[6]]) refuseRepeated(names ?? [], nic);
}

/**
 * What is wrong with our annotations in the manifest of a Namespace, a Pod, or what makes Pods: the API server takes any text
 * there, and only the Pods fail. Undefined: it is of another kind, or has no such annotation.
 */
export function annotationMistakes(manifest: Manifest, defaultNamespace: string): readonly Wrong[] | undefined {
  const { kind, metadata } = manifest;
  const inside = templateIn(manifest);
  const isNamespace = kind === "Namespace";
  if (inside === undefined && !isNamespace) return undefined;
  const found = memberOf(memberOf(inside?.template ?? manifest, "metadata"), "annotations");
  const where = [...(inside?.path ?? []), "metadata", "annotations"].join(".");
  const ours: readonly string[] = isNamespace ? known.namespace : known.pod;
  const notes = Object.entries(isJsonObject(found) ? found : {}).filter(
    ([key]) => key.startsWith(prefix) || ours.includes(key),
  );
  if (notes.length === 0) return undefined;
  const wrong = (key: string, message: string): Wrong => {
    const field = `${where}[${key}]`;
    return { field, text: `${field}: ${message}` };
  };
  const texts = notes.filter((note): note is [string, string] => typeof note[1] === "string");
  return [
    ...notes.flatMap(([key, value]) =>
      typeof value === "string" ? [] : [wrong(key, `${JSON.stringify(value)} is no text: put it in quotation marks`)],
    ),
    ...notes.flatMap(([key]) =>
      ours.includes(key) ? [] : [wrong(key, `nobody reads this annotation: did you mean ${nearest(key, ours)}?`)],
    ),
    ...Object.entries(readers[isNamespace ? "namespace" : "pod"]).flatMap(([first, read]) => {
      const { namespace = defaultNamespace } = metadata;
      const problem = refusalOf(() => read(Object.fromEntries(texts), namespace));
      if (problem === undefined) return [];
      const key =
        ours.find((one) => problem.includes(`'${one}'`)) ?? ours.find((one) => problem.includes(one)) ?? first;
      return [wrong(key, problem)];
    }),
  ];
}

/** What `read` throws about its input, as the Pod's Event would say it. */
function refusalOf(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    const { code, message } = sentenceOf(error);
    if (code === "WRONG_INPUT" || code === "NETWORK_ANNOTATION") return message;
    throw error;
  }
}
