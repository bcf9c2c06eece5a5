// Writes what follows from the chart's values.yaml: the templates' copy of the defaults, and the page of values.
import { writeFileSync } from "node:fs";
import { chartFolder, generatedTemplate, valuesPage } from "./chart-values.ts";

writeFileSync(new URL("templates/_generated.tpl", chartFolder), generatedTemplate());
writeFileSync(new URL("../docs/reference/values.md", import.meta.url), valuesPage());
