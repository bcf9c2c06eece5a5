// Writes docs/reference/spiderpoolctl.md from the commands' help.
import { writeFileSync } from "node:fs";
import { helpPage } from "../src/ctl/help-page.ts";

writeFileSync(new URL("../docs/reference/spiderpoolctl.md", import.meta.url), helpPage());
