// `npm run generate`: everything that is generated and committed.
import "./generate-crds.ts";
