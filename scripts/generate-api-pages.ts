// Writes the reference of kinds, annotations and settings from src/api.
import { writeFileSync } from "node:fs";
import { annotationsPage } from "./annotations-page.ts";
import { configurationPage } from "./configuration-page.ts";
import { crdsPage } from "./crds-page.ts";

writeFileSync(new URL("../docs/reference/annotations.md", import.meta.url), annotationsPage());
writeFileSync(new URL("../docs/reference/configuration.md", import.meta.url), configurationPage());
writeFileSync(new URL("../docs/reference/crds.md", import.meta.url), crdsPage());
