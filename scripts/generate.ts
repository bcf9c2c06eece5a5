// `npm run generate`: everything that is generated and committed.
import "./generate-api-pages.ts";
import "./generate-chart.ts";
import "./generate-crds.ts";
import "./generate-ctl.ts";
import "./generate-doctor.ts";
import "./generate-metrics.ts";
import "./generate-traffic.ts";
