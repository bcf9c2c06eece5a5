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

/** A path of the node as this process sees it. */
type Seen = (path: string) => string;

/** What lies in the runtime's two directories. */
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

/** The socket that the plugin executables have been told of. */
export function readShimSocket({ binDir }: NodePaths, seen: Seen): string | undefined {
  const [path] = (read(seen(join(binDir, shimSettingsFile))) ?? "").split("\n");
  return path === "" ? undefined : path;
}

/** containerd's and CRI-O's configuration, as far as it says where networks are. Their defaults are ours. */
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

/** NetworkManager, where it runs: whether anything tells it to leave veth interfaces alone. */
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
  // Distributions ship a rule of udev to the same effect.
  const udev = read(seen(join(usrLib, "udev/rules.d/85-nm-unmanaged.rules"))) ?? "";
  return { confDir, leavesPods: excluded || /veth.*NM_UNMANAGED/.test(udev) };
}

/** systemd-networkd, where it runs: whether it keeps rules and routes of others. The last setting by file name wins. */
export function observeNetworkd({ etc, run, usrLib }: NodePaths, seen: Seen): NodeFacts["networkd"] {
  if (!sees(seen(etc)) || list(seen(join(run, "systemd/netif"))).length === 0) return undefined;
  const confDir = join(etc, "systemd/networkd.conf.d");
  const folders = [join(usrLib, "systemd/networkd.conf.d"), join(run, "systemd/networkd.conf.d"), confDir];
  // A file of a later folder replaces one of the same name.
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

/** The times in a service account token. Its signature is not looked at: the API server does that. */
export function observeToken({ token }: NodePaths): NodeFacts["token"] {
  const [, payload] = (read(token) ?? "").split(".");
  try {
    const { exp, iat } = JSON.parse(Buffer.from(payload ?? "", "base64url").toString()) as Record<string, unknown>;
    if (typeof exp !== "number" || typeof iat !== "number") return undefined;
    return { path: token, issued: new Date(iat * 1000), expires: new Date(exp * 1000) };
  } catch {
    return undefined; // No JWT: a token that does not expire.
  }
}

/** The AppArmor profile of this process. */
export function observeAppArmor({ appArmor }: NodePaths): string | undefined {
  const text = (read(appArmor) ?? "").replaceAll("\0", "").trim();
  return text === "" || text.startsWith(appArmorUnconfined) ? undefined : text.replace(/ \(\w+\)$/, "");
}

/** A container may see the node's /run and not its /etc: then nothing can be said of settings. */
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

/** Sorted; a folder that is not there, or is none, is empty. */
function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (absent.has(codeOf(error) ?? "")) return [];
    throw error;
  }
}

/** undefined if there is no such file. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").slice(0, readBytesMax);
  } catch (error) {
    if (absent.has(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}

const absent = new Set(["ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EINVAL"]);
