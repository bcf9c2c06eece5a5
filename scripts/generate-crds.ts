// Writes the chart's CustomResourceDefinitions from the schemas of src/api, and removes files of kinds that are gone.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { crdTexts } from "../src/api/crds.ts";

const folder = new URL("../charts/spiderpool/crds/", import.meta.url);
const texts = crdTexts();

mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (!texts.has(name)) rmSync(new URL(name, folder));
for (const [name, text] of texts) writeFileSync(new URL(name, folder), text);
