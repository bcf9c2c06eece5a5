// Writes what follows from the chart's values.yaml: the templates' copy of the defaults, the
// schema, the dashboard, and the page of values.
import { writeFileSync } from "node:fs";
import { ipamDashboard } from "./chart-dashboard.ts";
import { valuesSchema } from "./chart-schema.ts";
import { chartFolder, generatedTemplate, valuesPage } from "./chart-values.ts";

writeFileSync(new URL("templates/_generated.tpl", chartFolder), generatedTemplate());
writeFileSync(new URL("values.schema.json", chartFolder), valuesSchema());
writeFileSync(new URL("files/dashboards/ipam.json", chartFolder), ipamDashboard());
writeFileSync(new URL("../docs/reference/values.md", import.meta.url), valuesPage());
