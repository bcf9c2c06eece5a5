// Writes the reference of kinds and annotations from src/api.
import { writeFileSync } from "node:fs";
import { annotationsPage } from "./annotations-page.ts";
import { crdsPage } from "./crds-page.ts";

writeFileSync(new URL("../docs/reference/annotations.md", import.meta.url), annotationsPage());
writeFileSync(new URL("../docs/reference/crds.md", import.meta.url), crdsPage());
