// `npm run generate`: everything that is generated and committed.
import { globSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readFlags } from "./common/flags.ts";
import { crdFolder, generatedFiles } from "./generate/files.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

readFlags("npm run generate: generates the CRDs, the chart's schema and the reference pages from their sources.", {});
for (const path of globSync(`${crdFolder}/*`, { cwd: root })) rmSync(join(root, path));
for (const [path, text] of generatedFiles()) writeFileSync(join(root, path), text);
