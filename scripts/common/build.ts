import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The programs. Everything but unit tests runs them as bundles, which start in 50 ms, against 250 ms from source. */
const programs = {
  agent: "src/agent/main.ts",
  controller: "src/controller/main.ts",
  spiderpoolctl: "src/ctl/main.ts",
  init: "src/init/main.ts",
  lab: "lab/main.ts",
} as const;

/**
 * What Node itself is told when it starts a program. At most one word: it stands in the first line of the image's executable.
 *
 * The agent's young generation ends at 3 MB each way; left to itself it grows to 48 MB in a burst, and keeps them. With the 1 MB
 * that it begins with, twice as many collections copy what a burst's calls still need. The rest is in src/agent/heap.ts.
 */
export const nodeFlags: Partial<Readonly<Record<keyof typeof programs, string>>> = { agent: "--max-semi-space-size=3" };

/** The command that starts a program as the image does, with this Node. */
export function nodeCommand(bundles: Bundles, name: keyof typeof programs): readonly string[] {
  const flag = nodeFlags[name];
  return [process.execPath, ...(flag === undefined ? [] : [flag]), bundles[name]];
}

type Bundles = Readonly<Record<keyof typeof programs, string>>;

const options = {
  absWorkingDir: root,
  entryPoints: programs,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  // Node 24 knows `using`; rewritten for it as for older ones, each takes an array and four closures, twenty times in an ADD.
  target: "esnext",
  // V8 keeps the text of what it may have to compile, in two bytes for each letter if a comment has one beyond Latin-1.
  minifyWhitespace: true,
  lineLimit: 120,
  format: "esm",
  // The native part of koffi is found beside its package; CommonJS dependencies ask for `require`.
  external: ["koffi"],
  banner: { js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);' },
  logLevel: "error",
} satisfies BuildOptions;

/** Tells processes of a run that begins with {@link buildBundles} that the bundles are there. */
export const bundledVariable = "BUNDLES_ARE_BUILT";

/** Bundles every program into `build/`, unless this run has done so, and returns the paths. Costs a second of a processor. */
export async function buildBundles(): Promise<Bundles> {
  const outdir = join(root, "build");
  if (process.env[bundledVariable] === undefined) await bundle(outdir);
  const path = (name: keyof typeof programs) => join(outdir, `${name}.mjs`);
  return {
    agent: path("agent"),
    controller: path("controller"),
    spiderpoolctl: path("spiderpoolctl"),
    init: path("init"),
    lab: path("lab"),
  };
}

/** Each file is replaced as a whole: another command may be starting the program that it has. */
async function bundle(outdir: string): Promise<void> {
  mkdirSync(outdir, { recursive: true });
  const { outputFiles } = await build({ ...options, outdir, sourcemap: "linked", write: false });
  for (const { path, contents } of outputFiles) {
    const partial = `${path}.${process.pid}`;
    writeFileSync(partial, contents, { mode: path.endsWith("/spiderpoolctl.mjs") ? 0o755 : 0o644 });
    renameSync(partial, path);
  }
}

/** The npm packages whose code is in the bundles of the product. */
export async function bundledPackages(): Promise<readonly string[]> {
  const { lab: _lab, ...product } = programs;
  const { metafile } = await build({ ...options, entryPoints: product, outdir: "build", write: false, metafile: true });
  const names = Object.keys(metafile.inputs).flatMap(
    (path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
  );
  return [...new Set(names)];
}
