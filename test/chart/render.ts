import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { findHelm } from "../../lab/tools/helm.ts";

const run = promisify(execFile);
export const chart: string = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));

/** A rendered object, or a part of one. */
// biome-ignore lint/suspicious/noExplicitAny: the shape of a Kubernetes object is what is tested.
export type Rendered = any;

interface Rendering {
  readonly text: string;
  readonly objects: readonly Rendered[];
  /** The object of this kind and name; undefined if there is none. */
  get(kind: string, name?: string): Rendered;
  all(kind: string): readonly Rendered[];
  /** The settings, decoded. */
  conf(): Rendered;
}

const bytesMax = 2 ** 26;

/**
 * `helm template spiderpool` in kube-system with these flags; `--set` for those that do not begin with a dash, and
 * `--release=NAME` for another name.
 */
export async function render(...flags: readonly string[]): Promise<Rendering> {
  const release = flags.find((flag) => flag.startsWith("--release="))?.slice("--release=".length) ?? "spiderpool";
  const others = flags.filter((flag) => !flag.startsWith("--release="));
  return read(await helm("template", release, chart, "-n", "kube-system", ...argumentsOf(others)));
}

/** Helm's error about flags that it refuses. Throws Error if it does not refuse them. */
export async function refusal(...flags: readonly string[]): Promise<string> {
  try {
    await render(...flags);
  } catch (error) {
    return String((error as { readonly stderr?: string }).stderr);
  }
  throw new Error(`rendered, although it should be refused: ${flags.join(" ")}`);
}

/** The text that helm prints after an installation. */
export async function notes(...flags: readonly string[]): Promise<string> {
  const text = await helm("install", "spiderpool", chart, "--dry-run=client", ...argumentsOf(flags));
  return text.slice(text.indexOf("NOTES:"));
}

/** The objects in a text with YAML documents. */
export function read(text: string): Rendering {
  const objects = parseAllDocuments(text).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`not YAML: ${document.errors[0]}`);
    return document.toJS() ?? [];
  });
  const get = (kind: string, name?: string) =>
    objects.find((object) => object.kind === kind && (name === undefined || object.metadata.name === name));
  const settings = () => objects.find((object) => object.data?.["conf.yml"] !== undefined)?.data["conf.yml"];
  const conf = () => parseAllDocuments(settings())[0]?.toJS();
  return { text, objects, get, all: (kind) => objects.filter((object) => object.kind === kind), conf };
}

/** Variables of a container as a map. */
export function envOf(container: Rendered): Readonly<Record<string, string>> {
  return Object.fromEntries(container.env.map(({ name, value }: Rendered) => [name, value]));
}

/** The Pod template's spec of a workload, and its only container. */
export function podOf(workload: Rendered): { readonly pod: Rendered; readonly container: Rendered } {
  const pod = workload.spec.template.spec;
  return { pod, container: pod.containers[0] };
}

export function hostPaths(workload: Rendered): readonly string[] {
  return podOf(workload).pod.volumes.flatMap(({ hostPath }: Rendered) => hostPath?.path ?? []);
}

function argumentsOf(flags: readonly string[]): readonly string[] {
  // A flag that takes a word has it after `=`.
  return flags.flatMap((flag) => (flag.startsWith("-") ? [flag] : ["--set", flag]));
}

let running = Promise.resolve<unknown>(undefined);

/** One helm at a time: each keeps a processor busy. */
export async function helm(...argv: readonly string[]): Promise<string> {
  return helmWith({}, ...argv);
}

/** The same with further variables. */
export async function helmWith(env: Readonly<Record<string, string>>, ...argv: readonly string[]): Promise<string> {
  const path = await findHelm();
  const options = { maxBuffer: bytesMax, env: { ...process.env, ...env } };
  const next = running.then(() => run(path, [...argv], options));
  running = next.catch(() => {});
  return (await next).stdout;
}
