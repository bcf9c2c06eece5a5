// `npm run bench`: see bench/main.ts.
import "../bench/main.ts";
