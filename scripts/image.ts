// `npm run image`: the product's image, without a container engine, into dist/.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildImage, writeRootfs } from "../images/build.ts";
import { readFlags } from "./common/flags.ts";

const flags = readFlags("npm run image -- [flags]: builds the image, without a container engine.", {
  out: { type: "string", value: "DIR", help: "folder for the image (dist)" },
  rootfs: {
    type: "string",
    value: "DIR",
    help: "write the image's files into this folder instead, for images/Containerfile",
  },
  "update-base": { type: "boolean", help: "use the distribution's newest libraries, and record their versions" },
});
if (flags.rootfs !== undefined) {
  await writeRootfs(flags.rootfs);
  process.exit();
}
const out = flags.out ?? fileURLToPath(new URL("../dist", import.meta.url));
const startMs = performance.now();
const { archive, digest, reference, sbom } = await buildImage({ updateBase: flags["update-base"] });
mkdirSync(out, { recursive: true });
const file = join(out, "spiderpool-image.tar");
writeFileSync(file, archive);
writeFileSync(join(out, "spiderpool-image.spdx.json"), sbom);
console.log(`${reference}
  digest   ${digest}
  file     ${file} (${(archive.length / 2 ** 20).toFixed(1)} MiB, ${((performance.now() - startMs) / 1000).toFixed(1)} s)
  import   ctr -n k8s.io images import ${file}`);
