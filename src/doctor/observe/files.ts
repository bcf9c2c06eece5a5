import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "#base";
import { shimSettingsFile } from "#cni";
import type { NodeFacts } from "../node/facts.ts";
import type { NodePaths } from "./paths.ts";
import { appArmorUnconfined } from "./paths.ts";

const configuration = /\.(conf|conflist|json)$/;
const shimFile = ".spiderpool-shim";
const readBytesMax = 1 << 20;

/** Maps a path of the node to the path where this process sees it. */
type Seen = (path: string) => string;

/** Reads the runtime's directories of network configurations and plugins. */
export function observeCni({ confDir, binDir, stateDir }: NodePaths, seen: Seen): NodeFacts["cni"] {
  const installed = readInstalled(join(stateDir, "installed.json"));
  const shim = join(binDir, shimFile);
  const foreignExecutables = installed
    .filter(({ path, sha256 }) => path.startsWith(`${binDir}/`) && checksum(seen(path)) !== sha256)
    .filter(({ path, sha256 }) => !installed.some((one) => one.path === path && one.sha256 !== sha256))
    .map(({ path }) => path)
    .filter((path) => !path.endsWith(shimSettingsFile));
  return {
    confDir,
    configs: list(seen(confDir)).filter((name) => configuration.test(name) && isJson(seen(join(confDir, name)))),
    binDir,
    shim: read(seen(shim)) === undefined ? undefined : shim,
    foreignExecutables,
  };
}

/** The socket that the shim is told to use; undefined if it is not installed. */
export function readShimSocket({ binDir }: NodePaths, seen: Seen): string | undefined {
  const [path] = (read(seen(join(binDir, shimSettingsFile))) ?? "").split("\n");
  return path === "" ? undefined : path;
}

/** The CNI directories in the configuration of containerd or CRI-O. Their defaults are the same as ours. */
export function observeRuntime({ etc }: NodePaths, seen: Seen): NodeFacts["runtime"] {
  const defaults = { confDir: "/etc/cni/net.d", binDirs: ["/opt/cni/bin"] };
  const crio = list(seen(join(etc, "crio/crio.conf.d"))).map((name) => join(etc, "crio/crio.conf.d", name));
  for (const file of [join(etc, "containerd/config.toml"), join(etc, "crio/crio.conf"), ...crio]) {
    const text = read(seen(file));
    if (text === undefined) continue;
    const confDir = tomlTexts(text, /^(conf_dir|network_dir)$/)[0];
    const binDirs = tomlTexts(text, /^(bin_dir|bin_dirs|plugin_dirs)$/);
    if (confDir === undefined && binDirs.length === 0) continue;
    return {
      file,
      confDir: trim(confDir ?? defaults.confDir),
      binDirs: binDirs.length === 0 ? defaults.binDirs : binDirs.map(trim),
      says: { confDir: confDir !== undefined, binDirs: binDirs.length > 0 },
    };
  }
  return undefined;
}

/** Whether NetworkManager is told to leave veth interfaces alone; undefined if it does not run. */
export function observeNetworkManager({ etc, run, usrLib }: NodePaths, seen: Seen): NodeFacts["networkManager"] {
  if (!sees(seen(etc)) || list(seen(join(run, "NetworkManager"))).length === 0) return undefined;
  const confDir = join(etc, "NetworkManager/conf.d");
  const folders = [confDir, join(run, "NetworkManager/conf.d"), join(usrLib, "NetworkManager/conf.d")];
  const texts = [
    ...folders.flatMap((folder) => list(seen(folder)).map((name) => read(seen(join(folder, name))))),
    read(seen(join(etc, "NetworkManager/NetworkManager.conf"))),
  ];
  const excluded = texts.some((text) =>
    /^\s*unmanaged-devices\s*=.*\b(interface-name:veth\*|type:veth|driver:veth|\*)/m.test(text ?? ""),
  );
  // Distributions ship a udev rule with the same effect.
  const udev = read(seen(join(usrLib, "udev/rules.d/85-nm-unmanaged.rules"))) ?? "";
  return { confDir, leavesPods: excluded || /veth.*NM_UNMANAGED/.test(udev) };
}

/** Whether systemd-networkd keeps foreign rules and routes; undefined if it does not run. The last file by name wins. */
export function observeNetworkd({ etc, run, usrLib }: NodePaths, seen: Seen): NodeFacts["networkd"] {
  if (!sees(seen(etc)) || list(seen(join(run, "systemd/netif"))).length === 0) return undefined;
  const confDir = join(etc, "systemd/networkd.conf.d");
  const folders = [join(usrLib, "systemd/networkd.conf.d"), join(run, "systemd/networkd.conf.d"), confDir];
  // A file in a later folder replaces a file of the same name (networkd.conf(5)).
  const dropIns = new Map(folders.flatMap((folder) => list(seen(folder)).map((name) => [name, join(folder, name)])));
  const ordered = [
    join(etc, "systemd/networkd.conf"),
    ...[...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path),
  ];
  const text = ordered.map((path) => read(seen(path)) ?? "").join("\n");
  const isOff = (key: string) =>
    /^(no|false|off|0)$/i.test([...text.matchAll(new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)`, "gm"))].at(-1)?.[1] ?? "yes");
  return { confDir, keepsForeign: isOff("ManageForeignRoutingPolicyRules") && isOff("ManageForeignRoutes") };
}

/** The lifetime of a service account token. The signature is left to the API server to check. */
export function observeToken({ token }: NodePaths): NodeFacts["token"] {
  const [, payload] = (read(token) ?? "").split(".");
  try {
    const { exp, iat } = JSON.parse(Buffer.from(payload ?? "", "base64url").toString()) as Record<string, unknown>;
    if (typeof exp !== "number" || typeof iat !== "number") return undefined;
    return { path: token, issued: new Date(iat * 1000), expires: new Date(exp * 1000) };
  } catch {
    return undefined; // It is no JWT, so it does not expire.
  }
}

/** The AppArmor profile of this process. */
export function observeAppArmor({ appArmor }: NodePaths): string | undefined {
  const text = (read(appArmor) ?? "").replaceAll("\0", "").trim();
  return text === "" || text.startsWith(appArmorUnconfined) ? undefined : text.replace(/ \(\w+\)$/, "");
}

/** False in a container that sees the node's /run but not its /etc: there, settings are unknown. */
function sees(etc: string): boolean {
  return list(etc).length > 0;
}

function tomlTexts(text: string, key: RegExp): readonly string[] {
  const lines = text.replaceAll(/\[\s*\n\s*/g, "[").split("\n");
  const values = lines.flatMap((line) => {
    const [, name, value] = /^\s*([a-z_]+)\s*=\s*(.+)$/.exec(line) ?? [];
    return name !== undefined && value !== undefined && key.test(name) ? [value] : [];
  });
  return values.flatMap((value) => [...value.matchAll(/["']([^"']+)["']/g)].map(([, one]) => one ?? ""));
}

function trim(path: string): string {
  return path.replace(/(.)\/+$/, "$1");
}

function isJson(path: string): boolean {
  try {
    return typeof JSON.parse(read(path) ?? "") === "object";
  } catch {
    return false;
  }
}

function readInstalled(path: string): readonly { readonly path: string; readonly sha256: string }[] {
  try {
    const { files } = JSON.parse(read(path) ?? "{}") as { readonly files?: unknown };
    if (!Array.isArray(files)) return [];
    return files.filter((one) => typeof one?.path === "string" && typeof one?.sha256 === "string");
  } catch {
    return [];
  }
}

function checksum(path: string): string | undefined {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return undefined;
  }
}

/** The names in a folder, sorted; none if there is no such folder or it may not be read. */
function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (absent.has(codeOf(error) ?? "")) return [];
    throw error;
  }
}

/** The beginning of a file, as text; undefined if there is no such file or it may not be read. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").slice(0, readBytesMax);
  } catch (error) {
    if (absent.has(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}

const absent = new Set(["ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EINVAL"]);
