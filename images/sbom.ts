import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundledPackages } from "../scripts/common/build.ts";
import type { DebianBase } from "./debian.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Part {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** Package URL: github.com/package-url. */
  readonly purl: string;
}

/** The image's bill of materials, SPDX 2.3 JSON: Node, npm packages inside the bundles, libraries of the distribution. */
export async function sbom(
  base: DebianBase,
  product: { readonly version: string; readonly created: string },
): Promise<string> {
  const distribution = /^ID=(.*)$/m.exec(base.osRelease)?.[1] ?? "linux";
  const npm = [
    ...(await bundledPackages()),
    "koffi",
    `@koromix/koffi-linux-${process.arch}`,
    `node-linux-${process.arch}`,
  ];
  const parts: readonly Part[] = [
    ...[...new Set(npm)].sort().map(npmPart),
    ...base.packages.map(({ name, version }) => ({
      name,
      version,
      licence: "NOASSERTION",
      purl: `pkg:deb/${distribution}/${name}@${encodeURIComponent(version)}?arch=${process.arch}`,
    })),
  ];
  const id = (name: string) => `SPDXRef-${name.replace(/[^A-Za-z0-9.-]+/g, "-")}`;
  const packages = parts.map(({ name, version, licence, purl }) => ({
    SPDXID: id(name),
    name,
    versionInfo: version,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: licence,
    copyrightText: "NOASSERTION",
    externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: purl }],
  }));
  const hash = createHash("sha256")
    .update(JSON.stringify([product, parts]))
    .digest("hex");
  const document = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `spiderpool-${product.version}`,
    documentNamespace: `urn:sha256:${hash}`,
    creationInfo: { created: product.created, creators: ["Tool: spiderpool-image"] },
    packages: [
      {
        SPDXID: "SPDXRef-spiderpool",
        name: "spiderpool",
        versionInfo: product.version,
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        licenseConcluded: "Apache-2.0",
        licenseDeclared: "Apache-2.0",
        copyrightText: "NOASSERTION",
        primaryPackagePurpose: "CONTAINER",
      },
      ...packages,
    ],
    relationships: [
      relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-spiderpool"),
      ...parts.map(({ name }) => relation("SPDXRef-spiderpool", "CONTAINS", id(name))),
    ],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function relation(spdxElementId: string, relationshipType: string, relatedSpdxElement: string) {
  return { spdxElementId, relationshipType, relatedSpdxElement };
}

function npmPart(name: string): Part {
  const { version, license } = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, "utf8")) as {
    readonly version: string;
    readonly license?: string;
  };
  return { name, version, licence: license ?? "NOASSERTION", purl: `pkg:npm/${name.replace("@", "%40")}@${version}` };
}
