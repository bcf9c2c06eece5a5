// Writes what follows from the chart's values.yaml: the templates' copy of the defaults, the
// schema, and the page of values.
import { writeFileSync } from "node:fs";
import { valuesSchema } from "./chart-schema.ts";
import { chartFolder, generatedTemplate, valuesPage } from "./chart-values.ts";

writeFileSync(new URL("templates/_generated.tpl", chartFolder), generatedTemplate());
writeFileSync(new URL("values.schema.json", chartFolder), valuesSchema());
writeFileSync(new URL("../docs/reference/values.md", import.meta.url), valuesPage());
