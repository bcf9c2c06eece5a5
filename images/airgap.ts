import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { chartFolder } from "../scripts/generate/chart-values.ts";
import { type Entry, encodeTar, type Tree } from "./tar.ts";

const file = (content: Buffer | string, mode = 0o644): Entry => ({ kind: "file", mode, content: Buffer.from(content) });

/** The chart's archive, as `helm package` makes it, but reproducible. */
export function packageChart(): Buffer {
  const folder = fileURLToPath(chartFolder);
  const tree: Tree = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    tree.set(`spiderpool/${path.slice(folder.length)}`, file(readFileSync(path)));
  }
  return gzipSync(encodeTar(tree));
}

/** The script that users run on each node, or once with `--push REGISTRY` to fill a registry. */
const load = `#!/bin/sh
# Loads the image into this node's container runtime, or pushes it to a registry that the nodes reach.
set -eu
cd "$(dirname "$0")"
if [ "\${1:-}" = --push ]; then
  [ -n "\${2:-}" ] || { echo "usage: $0 --push REGISTRY[/PATH]" >&2; exit 2; }
  while read -r image; do
    skopeo copy oci-archive:spiderpool-image.tar "docker://$2/\${image#*/}"
  done < images.txt
  echo "install with --set global.imageRegistryOverride=$2"
elif command -v k3s >/dev/null; then k3s ctr images import spiderpool-image.tar
elif [ -x /var/lib/rancher/rke2/bin/ctr ]; then
  /var/lib/rancher/rke2/bin/ctr -a /run/k3s/containerd/containerd.sock -n k8s.io images import spiderpool-image.tar
elif command -v microk8s >/dev/null; then microk8s ctr images import spiderpool-image.tar
elif command -v k0s >/dev/null; then k0s ctr -n k8s.io images import spiderpool-image.tar
elif command -v ctr >/dev/null; then ctr -n k8s.io images import spiderpool-image.tar
elif command -v podman >/dev/null; then podman load --input spiderpool-image.tar
else echo "no ctr and no podman here: import spiderpool-image.tar with your container runtime's own tool" >&2; exit 1
fi
`;

/** One archive for clusters without internet: chart, image, image name, bill of materials, and a script. */
export function airgapArchive(image: {
  readonly archive: Buffer;
  readonly reference: string;
  readonly sbom: string;
}): Buffer {
  const readme = `Spiderpool for clusters without internet

1. On each node:  ./load.sh           (or once: ./load.sh --push registry.example/mirror)
2. Once:          helm install spiderpool ./spiderpool-chart.tgz --namespace kube-system
                  (after a push with --set global.imageRegistryOverride=registry.example/mirror)
`;
  const folder = "spiderpool-airgap";
  return encodeTar(
    new Map([
      [`${folder}/README`, file(readme)],
      [`${folder}/images.txt`, file(`${image.reference}\n`)],
      [`${folder}/load.sh`, file(load, 0o755)],
      [`${folder}/spiderpool-chart.tgz`, file(packageChart())],
      [`${folder}/spiderpool-image.spdx.json`, file(image.sbom)],
      [`${folder}/spiderpool-image.tar`, file(image.archive)],
    ]),
  );
}
