// `npm run airgap`: chart, image and a script that loads it, in one archive for clusters without internet.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { airgapArchive } from "../images/airgap.ts";
import { buildImage } from "../images/build.ts";
import { readFlags } from "./common/flags.ts";

const flags = readFlags(
  "npm run airgap -- [flags]: packs the chart, the image and a script that loads it into one archive.",
  {
    out: { type: "string", value: "DIR", help: "folder for the archive (dist)" },
  },
);
const out = flags.out ?? fileURLToPath(new URL("../dist", import.meta.url));
const image = await buildImage();
const archive = airgapArchive(image);
mkdirSync(out, { recursive: true });
const file = join(out, "spiderpool-airgap.tar");
writeFileSync(file, archive);
console.log(`${file} (${(archive.length / 2 ** 20).toFixed(1)} MiB): ${image.reference} ${image.digest}`);
