import { registerHooks } from "node:module";
import { relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Mistake } from "./mistakes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The files that make connections to the API server and OVSDB. */
const connecting = /^src\/(agent\/(agent|cluster\/cluster|node\/ovs-clients)|controller\/program)\.ts$/;

/** Which imports of which files lead elsewhere in a simulated world. The replaced modules themselves get the real ones. */
const replacements: readonly { readonly of: RegExp; readonly specifier: string; readonly by: string }[] = [
  { of: /^src\/agent\//, specifier: "#linux", by: "linux.ts" },
  { of: /^src\/agent\//, specifier: "#plugins", by: "plugins.ts" },
  { of: /^src\/agent\//, specifier: "#ovsdb", by: "ovsdb.ts" },
  { of: /^src\/(agent\/(?!node\/install)|base\/state\.ts|ledger|controller)/, specifier: "node:fs", by: "fs.ts" },
  { of: /^src\//, specifier: "node:timers/promises", by: "timers.ts" },
  { of: connecting, specifier: "#base", by: "base.ts" },
  { of: connecting, specifier: "#kube", by: "kube.ts" },
  { of: /^src\/agent\/agent\.ts$/, specifier: "./calls/server.ts", by: "agent-server.ts" },
  { of: /^src\/agent\/agent\.ts$/, specifier: "./http/api.ts", by: "agent-api.ts" },
  { of: /^src\/agent\/build\//, specifier: "../calls/crash-points.ts", by: "crash-points.ts" },
  { of: /^src\/agent\/build\//, specifier: "../node/doctor.ts", by: "agent-doctor.ts" },
  { of: /^src\/agent\/build\//, specifier: "../node/host-state.ts", by: "host-state.ts" },
  { of: /^src\/agent\/build\//, specifier: "../node/install/node.ts", by: "node-files.ts" },
  { of: /^src\/agent\/build\//, specifier: "../node/node-sysctls.ts", by: "node-settings.ts" },
  { of: /^src\/agent\/agent\.ts$/, specifier: "./node/uninstall.ts", by: "node-settings.ts" },
  { of: /^src\/controller\/http\/servers\.ts$/, specifier: "./http.ts", by: "controller-http.ts" },
];

/** Those that replaced something: one that does not leaves the real module where nobody expects it. */
const used = new Set<(typeof replacements)[number]>();
const variants = new Map<string, Mistake | undefined>();
let isRegistered = false;

/**
 * Loads a file, and all that it imports of this repository, as one variant of the product: with the replacements above, and
 * with a mistake where one is planted. Other importers keep the real modules; each variant is loaded once.
 */
export async function loadVariant(file: URL, mistake: Mistake | undefined): Promise<unknown> {
  if (!isRegistered) registerHooks(hooks);
  isRegistered = true;
  const name = mistake?.name ?? "as it is";
  variants.set(name, mistake);
  const loaded = await import(`${file.href}?variant=${encodeURIComponent(name)}`);
  for (const one of replacements) {
    if (used.has(one)) continue;
    throw new Error(`nothing at ${one.of} imports ${one.specifier} any more: adapt test/simulation/modules.ts`);
  }
  return loaded;
}

const hooks: Parameters<typeof registerHooks>[0] = {
  resolve(specifier, context, next) {
    const parent = context.parentURL === undefined ? null : URL.parse(context.parentURL);
    const variant = parent?.searchParams.get("variant") ?? null;
    if (parent === null || variant === null) return next(specifier, context);
    const importer = relative(root, fileURLToPath(new URL(parent.pathname, parent)));
    const found = replacements.find((one) => one.specifier === specifier && one.of.test(importer));
    if (found !== undefined) used.add(found);
    const by = found && new URL(`./replaced/${found.by}`, import.meta.url).href;
    const resolved = next(by ?? specifier, context);
    if (!resolved.url.startsWith(pathToFileURL(root).href) || resolved.url.includes("/node_modules/")) return resolved;
    return { ...resolved, url: `${resolved.url}?variant=${encodeURIComponent(variant)}` };
  },
  load(url, context, next) {
    const { searchParams, pathname } = new URL(url);
    const mistake = variants.get(searchParams.get("variant") ?? "");
    const loaded = next(url, context);
    const edits = mistake?.edits.filter(({ file }) => pathname.endsWith(`/${file}`)) ?? [];
    if (edits.length === 0) return loaded;
    return { ...loaded, source: edits.reduce(plant, textOf(loaded.source)) };
  },
};

function textOf(source: unknown): string {
  if (typeof source === "string") return source;
  if (source instanceof Uint8Array) return Buffer.from(source).toString();
  throw new TypeError("a loaded module must have a source to plant a mistake in");
}

function plant(source: string, { file, find, put }: Mistake["edits"][number]): string {
  const times = source.split(find).length - 1;
  if (times === 1) return source.replace(find, () => put);
  throw new Error(
    `${file} has ${times} times what a planted mistake replaces, once is needed: ${find}\nAdapt test/simulation/mistakes.ts to the code as it is now.`,
  );
}
