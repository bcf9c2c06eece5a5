// `npm run bench`: see bench/add.ts.
import "../bench/add.ts";
