// Writes docs/reference/traffic.md from the table that the tests of traffic go through.
import { writeFileSync } from "node:fs";
import { trafficPage } from "../test/traffic/page.ts";

writeFileSync(new URL("../docs/reference/traffic.md", import.meta.url), trafficPage());
