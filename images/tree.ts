import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildBundles, nodeFlags } from "../scripts/common/build.ts";
import { buildShim } from "../shim/build.ts";
import type { DebianBase } from "./debian.ts";
import type { Entry, Tree } from "./tar.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const home = "usr/lib/spiderpool";
const nodePackage = `node_modules/node-linux-${process.arch}`;

/** The programs of the image: name, and its bundle. */
const programs = {
  "spiderpool-agent": "agent",
  "spiderpool-controller": "controller",
  "spiderpool-init": "init",
  spiderpoolctl: "spiderpoolctl",
} as const;

/** Path of the reference plugins in packages. The image only carries them for installation on nodes. */
const pluginFolder = /^usr\/lib\/cni\/(?=[^/]+$)/;

/** The files of packages that the image needs: libraries that Node or name look-ups load, and licences. */
const wanted =
  /^(usr\/)?lib\/[^/]+\/(ld-linux[^/]*|lib(c|m|dl|pthread|rt|resolv|nss_dns|nss_files|gcc_s|stdc\+\+)\.so[.0-9]*)$|^(usr\/)?lib(64)?\/ld-linux[^/]*$|\/copyright$/;

/** The parts that seldom change: the distribution's libraries, Node, and the reference plugins. */
export function baseTree({ osRelease, packages }: DebianBase): Tree {
  const tree: Tree = new Map<string, Entry>([
    ["lib", link("usr/lib")],
    ["lib64", link("usr/lib64")],
    ["usr/lib64", directory()],
    ["tmp", directory(0o1777)],
    ["run", directory()],
    ["var/run", link("/run")],
    ["etc/passwd", text("root:x:0:0:root:/:/sbin/nologin\n")],
    ["etc/group", text("root:x:0:\n")],
    ["etc/nsswitch.conf", text("hosts: files dns\n")],
    // Tells scanners the distribution of these packages.
    ["etc/os-release", text(osRelease)],
    // The chart mounts the host's /run here.
    ["host/run", directory()],
    ["run/openvswitch", link("/host/run/openvswitch")],
    ["run/docker/netns", link("/host/run/docker/netns")],
    ["usr/bin/node", program(readFileSync(join(root, nodePackage, "bin/node")))],
    ["usr/share/doc/node/LICENSE", text(readFileSync(join(root, nodePackage, "LICENSE"), "utf8"))],
  ]);
  for (const { name, path } of packages) {
    for (const [file, entry] of unpack(path)) {
      if (wanted.test(file)) tree.set(merged(file), entry);
      else if (pluginFolder.test(file)) tree.set(file.replace(pluginFolder, `${home}/cni/`), entry);
    }
    tree.set(`var/lib/dpkg/status.d/${name}`, text(execFileSync("dpkg-deb", ["--field", path], { encoding: "utf8" })));
  }
  return tree;
}

/** The product. */
export async function productTree(): Promise<Tree> {
  const [bundles, shim] = await Promise.all([buildBundles(), buildShim(join(root, "build"))]);
  const tree: Tree = new Map<string, Entry>([[`${home}/spiderpool-shim`, program(readFileSync(shim))]]);
  for (const [name, bundle] of Object.entries(programs)) {
    const code = readFileSync(bundles[bundle], "utf8").replace(/^#!.*\n|^\/\/# sourceMappingURL=.*\n?/gm, "");
    // The kernel starts it by its first line, without a shell.
    tree.set(
      `${home}/${name}.mjs`,
      program(Buffer.from(`#!${["/usr/bin/node", nodeFlags[bundle]].join(" ").trim()}\n${code}`)),
    );
    tree.set(`usr/bin/${name}`, link(`../lib/spiderpool/${name}.mjs`));
  }
  const crds = join(root, "charts/spiderpool/crds");
  for (const file of readdirSync(crds)) {
    tree.set(`usr/share/spiderpool/crds/${file}`, text(readFileSync(join(crds, file), "utf8")));
  }
  const modules = `${home}/node_modules`;
  const native = `@koromix/koffi-linux-${process.arch}`;
  add(
    tree,
    join(root, "node_modules/koffi"),
    `${modules}/koffi`,
    /^(src\/koffi\/(src\/)?)?[^/]+\.(js|cjs)$|^(package\.json|LICENSE\.txt)$/,
  );
  add(
    tree,
    join(root, "node_modules", native),
    `${modules}/${native}`,
    /^(index\.js|package\.json|linux_[^/]+\/koffi\.node)$/,
  );
  return tree;
}

/** The files of a package, by path. */
function unpack(deb: string): Tree {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-unpack-"));
  try {
    execFileSync("dpkg-deb", ["--extract", deb, folder]);
    const tree: Tree = new Map();
    add(tree, folder, "", /./);
    return tree;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Adds the files and links below a folder whose relative path matches. */
function add(tree: Tree, folder: string, into: string, match: RegExp): void {
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const path = join(folder, file);
    const found = lstatSync(path);
    if (found.isDirectory() || !match.test(file)) continue;
    const at = into === "" ? file : `${into}/${file}`;
    if (found.isSymbolicLink()) tree.set(at, link(readlinkSync(path)));
    else tree.set(at, { kind: "file", mode: found.mode & 0o111 ? 0o755 : 0o644, content: readFileSync(path) });
  }
}

/** Moves libraries of older packages from /lib, a link to /usr/lib here. */
function merged(path: string): string {
  return path.replace(/^lib(64)?\//, "usr/lib$1/");
}

function link(target: string): Entry {
  return { kind: "link", target };
}

function directory(mode = 0o755): Entry {
  return { kind: "directory", mode };
}

function text(content: string): Entry {
  return { kind: "file", mode: 0o644, content: Buffer.from(content) };
}

function program(content: Buffer): Entry {
  return { kind: "file", mode: 0o755, content };
}
