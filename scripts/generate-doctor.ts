// Writes docs/reference/doctor.md from the table of checks.
import { writeFileSync } from "node:fs";
import { doctorPage } from "../src/doctor/index.ts";

writeFileSync(new URL("../docs/reference/doctor.md", import.meta.url), doctorPage());
