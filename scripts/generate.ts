// `npm run generate`: everything that is generated and committed.
import { readFlags } from "./options.ts";

readFlags("npm run generate: generates the CRDs, the chart's schema and the reference pages from their sources.", {});
for (const what of ["api-pages", "chart", "crds", "ctl", "doctor", "metrics", "traffic"]) {
  await import(`./generate-${what}.ts`);
}
