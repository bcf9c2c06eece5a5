import { labels } from "#api";
import { FairQueue, formatError, newest } from "#base";
import { type KubeClient, type Pod, type PodText, pods } from "#kube";
import { redact } from "./redact.ts";

/** What the logs of all Pods may have together, and their metrics. */
const charsMax = 6_000_000;
/** A line of our logs, roughly. */
const lineChars = 250;
const linesMin = 20;
const linesMax = 2_000;
/** How many Pods are asked at a time. */
const slots = 8;

/** One text of one process. */
interface Source {
  readonly pod: Pod;
  readonly of: PodText;
}

/** The newest lines of what our Pods' containers wrote, also before their last restart; each Pod has its share. */
export async function* logs(client: KubeClient, signal: AbortSignal): AsyncGenerator<object> {
  const sources = (await ours(client, signal)).flatMap((pod) => {
    const restarted = pod.status?.containerStatuses?.filter(({ restartCount }) => restartCount > 0) ?? [];
    return (pod.spec?.containers ?? []).flatMap(({ name: container }): readonly Source[] => {
      const of = { kind: "log", container, lines: linesMax } as const;
      return restarted.some(({ name }) => name === container)
        ? [
            { pod, of: { ...of, previous: true } },
            { pod, of },
          ]
        : [{ pod, of }];
    });
  });
  const share = Math.floor(charsMax / Math.max(sources.length, 1));
  const lines = Math.max(linesMin, Math.min(linesMax, Math.floor(share / lineChars)));
  const asked = sources.map(({ pod, of }): Source => ({ pod, of: of.kind === "log" ? { ...of, lines } : of }));
  yield* texts(client, asked, signal, (text) => ({ lines: newest(cleaned(text), share) }));
}

/** The lines without what credentials show as text: a private key has several lines. Each line is looked at later, too. */
function cleaned(text: string): readonly string[] {
  return String(redact(text.trimEnd())).split("\n");
}

/** The metrics of our Pods, where they serve them. */
export async function* metrics(client: KubeClient, signal: AbortSignal): AsyncGenerator<object> {
  const sources = (await ours(client, signal)).flatMap((pod) => {
    const port = metricPort(pod);
    return port === undefined ? [] : [{ pod, of: { kind: "proxy", port, path: "/metrics" } } satisfies Source];
  });
  const share = Math.floor(charsMax / Math.max(sources.length, 1));
  yield* texts(client, sources, signal, (text) => ({ text: text.slice(0, share) }));
}

/** Controllers first: there are few. */
async function ours(client: KubeClient, signal: AbortSignal): Promise<readonly Pod[]> {
  const found = await Array.fromAsync(client.listAll(pods, { labelSelector: labels.program, signal }));
  return found.toSorted((a, b) => Number(isAgent(a)) - Number(isAgent(b)));
}

/** Whether a Pod is a node's agent. */
export function isAgent({ metadata }: Pod): boolean {
  return metadata.labels?.[labels.program] === "agent";
}

function metricPort({ spec }: Pod): number | undefined {
  const env = spec?.containers.flatMap((one) => one.env ?? []) ?? [];
  const read = (wanted: string) => env.find(({ name }) => name === wanted)?.value;
  if (read("SPIDERPOOL_ENABLED_METRIC") !== "true") return undefined;
  return Number(read("SPIDERPOOL_METRIC_HTTP_PORT") ?? "") || undefined;
}

/** One that cannot be read has its error in place of the text, because others can be. Throws if none can. */
async function* texts(
  client: KubeClient,
  sources: readonly Source[],
  signal: AbortSignal,
  shown: (text: string) => object,
): AsyncGenerator<object> {
  const queue = new FairQueue({ slots, maxWaiting: Number.MAX_SAFE_INTEGER });
  let failure: unknown;
  let read = 0;
  const asked = sources.map(async ({ pod, of }) => {
    const { namespace, name } = pod.metadata;
    const about = { pod: `${namespace}/${name}`, node: pod.spec?.nodeName, of };
    try {
      using _slot = await queue.enter("", { signal });
      const text = await client.podText({ namespace, name }, { of, signal });
      read += 1;
      return { ...about, ...shown(text) };
    } catch (error) {
      failure ??= error;
      return { ...about, error: formatError(error) };
    }
  });
  for (const one of asked) yield await one;
  if (read === 0 && failure !== undefined) throw failure;
}
