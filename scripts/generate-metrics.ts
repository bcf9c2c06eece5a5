// Writes docs/reference/metrics.md from the tables of the programs.
import { writeFileSync } from "node:fs";
import { metricsPage } from "./metrics-page.ts";

writeFileSync(new URL("../docs/reference/metrics.md", import.meta.url), metricsPage());
