import { crdTexts, specSchemasText } from "../../src/api/crds.ts";
import { helpPage } from "../../src/ctl/help-page.ts";
import { doctorPage } from "../../src/doctor/index.ts";
import { trafficPage } from "../../test/traffic/page.ts";
import { annotationsPage } from "./annotations-page.ts";
import { ipamDashboard } from "./chart-dashboard.ts";
import { valuesSchema } from "./chart-schema.ts";
import { generatedTemplate, valuesPage } from "./chart-values.ts";
import { configurationPage } from "./configuration-page.ts";
import { crdsPage } from "./crds-page.ts";
import { metricsPage } from "./metrics-page.ts";

/** Where the CustomResourceDefinitions are. A file of a kind that is gone does not belong there. */
export const crdFolder = "charts/spiderpool/crds";

/** The text of every file that is generated and committed, by its path from the root. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...Array.from(crdTexts(), ([name, text]) => [`${crdFolder}/${name}`, text] as const),
    ["charts/spiderpool/templates/_generated.tpl", generatedTemplate()],
    ["charts/spiderpool/values.schema.json", valuesSchema()],
    ["charts/spiderpool/files/dashboards/ipam.json", ipamDashboard()],
    ["src/ctl/schema/kinds.json", specSchemasText()],
    ["docs/reference/annotations.md", annotationsPage()],
    ["docs/reference/configuration.md", configurationPage()],
    ["docs/reference/crds.md", crdsPage()],
    ["docs/reference/doctor.md", doctorPage()],
    ["docs/reference/metrics.md", metricsPage()],
    ["docs/reference/spiderpoolctl.md", helpPage()],
    ["docs/reference/traffic.md", trafficPage()],
    ["docs/reference/values.md", valuesPage()],
  ]);
}
