// Writes the chart's CustomResourceDefinitions from the schemas of src/api, and removes files of kinds that are gone; and what
// `spiderpoolctl` knows of them.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { crdTexts, specSchemasText } from "../src/api/crds.ts";

const folder = new URL("../charts/spiderpool/crds/", import.meta.url);
const texts = crdTexts();

mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (!texts.has(name)) rmSync(new URL(name, folder));
for (const [name, text] of texts) writeFileSync(new URL(name, folder), text);
writeFileSync(new URL("../src/ctl/schema/kinds.json", import.meta.url), specSchemasText());
