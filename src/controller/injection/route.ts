import { type Settings, type SpiderMultusConfig, spiderMultusConfigs } from "#api";
import type { Signal } from "#base";
import { type KubeClient, type Namespace, namespaces, pods, type Store } from "#kube";
import { jsonPatch } from "../admission/json-patch.ts";
import { type AdmissionRequest, allow, decodeReview, refuse } from "../admission/review.ts";
import type { HttpAnswer, HttpRoutes } from "../http/http.ts";
import { type Injection, inject, injectionIndex, injectionOf, injectionsOf, tryParsePod } from "./inject.ts";

interface PodRouteOptions {
  readonly client: KubeClient;
  /** With the index `injection`. */
  readonly configs: Store<SpiderMultusConfig>;
  readonly namespaces: Store<Namespace>;
  readonly settings: Settings["podResourceInject"];
  /** The release's own namespace, whose Pods are never changed. */
  readonly namespace: string;
}

/**
 * `/mutate--v1-pod`: gives Pods the networks and resources that an annotation of the Pod or its namespace requests. Refuses a Pod
 * only if a requested network does not exist or cannot be injected. If the webhook does not answer, the API server admits the Pod
 * without it (`failurePolicy: Ignore`). Excluded namespaces are checked here again, because the namespace selector in the
 * webhook configuration may be older than the settings.
 */
export function podRoutes(options: PodRouteOptions): HttpRoutes {
  const { configs, namespaces: known } = options;
  return {
    "/mutate--v1-pod": {
      method: "POST",
      answer: async (text, o): Promise<HttpAnswer> => {
        const request = decodeReview(text);
        if (request === undefined) return { status: 400, body: "an AdmissionReview of admission.k8s.io/v1 is needed" };
        await Promise.all([configs.synced(o), known.synced(o)]);
        return { status: 200, body: await mutatePod(options, request, o) };
      },
    },
  };
}

async function mutatePod(options: PodRouteOptions, request: AdmissionRequest, o: Signal): Promise<object> {
  const { operation, object, namespace } = request;
  if (operation !== "CREATE" || !isIncluded(options, namespace)) return allow(request);
  const pod = tryParsePod(object);
  if (pod === undefined) return allow(request);
  const wanted = injectionOf(pod, await notesOf(options, namespace, o));
  if (wanted === undefined) return allow(request);
  const answer = inject(pod, wanted, await configsOf(options, wanted, o));
  if (answer.kind === "refused") {
    const { key, value } = wanted;
    const field = `metadata.annotations[${key}]`;
    return refuse(request, pods, [{ type: "Invalid", field, value, detail: answer.reason }]);
  }
  return allow(request, { patch: jsonPatch(pod, answer.pod), warnings: answer.warnings });
}

function isIncluded({ settings, namespace: own }: PodRouteOptions, namespace: string): boolean {
  const { namespacesExclude, namespacesInclude } = settings;
  if (namespace === own || namespacesExclude.includes(namespace)) return false;
  return namespacesInclude.length === 0 || namespacesInclude.includes(namespace);
}

/** Annotations of a namespace, read from the API server if the watch does not show it yet. */
async function notesOf({ client, namespaces: known }: PodRouteOptions, name: string, o: Signal) {
  const namespace = known.get(name) ?? (await client.get(namespaces, { name }, o));
  return namespace?.metadata.annotations ?? {};
}

/** The networks of an injection. If the watch shows none, asks the API server: they may have been created just now. */
async function configsOf({ client, configs }: PodRouteOptions, wanted: Injection, o: Signal) {
  const index = injectionIndex(wanted);
  const found = configs.by("injection", index);
  if (found.length > 0) return found;
  const all: SpiderMultusConfig[] = [];
  for await (const config of client.listAll(spiderMultusConfigs, o)) {
    if (injectionsOf(config).includes(index)) all.push(config);
  }
  return all;
}
