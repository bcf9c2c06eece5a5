import type { JsonObject } from "#base";
import { formatArgs, parseArgs, podOf } from "./args.ts";
import { CniError, cniCodes } from "./errors.ts";
import { formatJson, kindOf, parseJsonObject } from "./json.ts";
import { stdinBytesMax } from "./limits.ts";
import { decodeResult } from "./result.ts";
import { type CniRequest, type CniResult, type PluginConfig, type Verb, verbs } from "./types.ts";
import { checkContainerId, checkIfName, checkNetworkName } from "./validate.ts";
import { compareVersions, firstVersionOf, impliedVersion, supportedVersions } from "./versions.ts";

/** The environment of a plugin process; only the CNI_* variables count. */
export type CniEnv = Readonly<Record<string, string | undefined>>;

/** A call as the operating system delivers it, before anything is checked. */
export interface RawCall {
  /** The last part of argv[0]. */
  readonly executable: string;
  readonly env: CniEnv;
  readonly stdin: Uint8Array;
}

/** A decoded call. VERSION and a call without a verb need no configuration and no container. */
type Call =
  | { readonly kind: "about" }
  | { readonly kind: "version" }
  | { readonly kind: "request"; readonly request: CniRequest };

interface DecodeCallOptions {
  /** Refuse a call without CNI_PATH. Only plugins that execute others need it. */
  readonly pathRequired?: boolean;
}

interface Variable {
  readonly name: string;
  readonly requiredBy: readonly string[];
  readonly check?: (value: string) => void;
}

/** The shim adds this variable to the frame: when it was started, by the monotonic clock: others jump. */
const calledVariable = "SPIDERPOOL_CALLED_MS";

const ofContainer: readonly string[] = ["ADD", "CHECK", "DEL"];

// Errors list missing variables in this order. An empty value counts as missing.
const variables: readonly Variable[] = [
  { name: "CNI_COMMAND", requiredBy: [] },
  { name: "CNI_CONTAINERID", requiredBy: ofContainer, check: checkContainerId },
  { name: "CNI_NETNS", requiredBy: ["ADD", "CHECK"] },
  { name: "CNI_IFNAME", requiredBy: ofContainer, check: checkIfName },
  { name: "CNI_ARGS", requiredBy: [] },
  { name: "CNI_PATH", requiredBy: verbs },
];

/**
 * Checks and decodes a call, in the order that runtimes expect of plugins, because the order decides which error a wrong call
 * gets: environment (CniError 4), size of stdin (5), JSON (6), name (7), version (1), a verb that is newer than the version
 * (1), an unknown verb (4).
 */
export function decodeCall(raw: RawCall, options: DecodeCallOptions = {}): Call {
  const command = raw.env["CNI_COMMAND"] ?? "";
  checkEnvironment(raw.env, command, options.pathRequired ?? false);
  if (command === "") return { kind: "about" };
  if (command === "VERSION") return { kind: "version" };
  const config = decodeConfig(raw, command);
  checkVerbAllowed(command, config.cniVersion);
  const args = parseArgs(raw.env["CNI_ARGS"] ?? "");
  const calledMs = raw.env[calledVariable] ?? "";
  return {
    kind: "request",
    request: {
      verb: verbOf(command),
      executable: raw.executable,
      containerId: raw.env["CNI_CONTAINERID"] ?? "",
      ifName: raw.env["CNI_IFNAME"] ?? "",
      netns: raw.env["CNI_NETNS"] ?? "",
      netnsOverride: /^(1|true)$/i.test(raw.env["CNI_NETNS_OVERRIDE"] ?? ""),
      path: (raw.env["CNI_PATH"] ?? "").split(":").filter((directory) => directory !== ""),
      args,
      pod: podOf(args),
      ...(/^\d{1,15}$/.test(calledMs) && { calledMs: Number(calledMs) }),
      config,
    },
  };
}

function checkEnvironment(env: CniEnv, command: string, pathRequired: boolean): void {
  const missing: string[] = [];
  for (const { name, requiredBy, check } of variables) {
    const value = env[name] ?? "";
    if (value !== "") check?.(value);
    else if (requiredBy.includes(command) && (name !== "CNI_PATH" || pathRequired)) missing.push(name);
  }
  if (missing.length > 0) {
    throw new CniError(cniCodes.invalidEnvironment, `required env variables [${missing.join(",")}] missing`);
  }
}

/** Decodes stdin: the configuration with its previous result. Throws CniError 5, 6, 7 or 1, in this order. */
function decodeConfig({ executable, stdin }: Pick<RawCall, "executable" | "stdin">, command: string): PluginConfig {
  if (stdin.byteLength > stdinBytesMax) {
    throw new CniError(cniCodes.io, "network configuration on stdin is too large", {
      details: { bytes: stdin.byteLength, allowed: stdinBytesMax },
    });
  }
  const raw = parseJsonObject(stdin, "network configuration");
  const name = checkNetworkName(raw["name"]);
  const cniVersion = raw["cniVersion"] || impliedVersion;
  if (typeof cniVersion !== "string") {
    throw new CniError(cniCodes.decode, "failed to decode network configuration", {
      text: `cniVersion: expected a string, found ${kindOf(cniVersion)}`,
    });
  }
  if (!supportedVersions.some((version) => version === cniVersion)) {
    throw new CniError(cniCodes.incompatibleVersion, "incompatible CNI versions", {
      text: `config is ${JSON.stringify(cniVersion)}, plugin supports ${JSON.stringify(supportedVersions)}`,
    });
  }
  const type = typeof raw["type"] === "string" && raw["type"] !== "" ? raw["type"] : executable;
  const prevResult = decodePrevResult(raw, cniVersion, command);
  return { cniVersion, name, type, raw, ...(prevResult !== undefined && { prevResult }) };
}

/** A DEL ignores a malformed previous result: it comes from the runtime's cache, and must not keep a Pod from ending. */
function decodePrevResult(raw: JsonObject, cniVersion: string, command: string): CniResult | undefined {
  const found = raw["prevResult"];
  if (found === undefined || found === null) return undefined;
  try {
    return decodeResult(found, cniVersion);
  } catch (cause) {
    if (command === "DEL") return undefined;
    throw new CniError(cniCodes.decode, "failed to decode prevResult", { cause });
  }
}

function checkVerbAllowed(command: string, cniVersion: string): void {
  const since = firstVersionOf(command);
  if (since !== undefined && compareVersions(cniVersion, since) < 0) {
    throw new CniError(cniCodes.incompatibleVersion, `config version does not allow ${command}`, {
      details: { found: cniVersion, since },
    });
  }
}

function verbOf(command: string): Verb {
  const verb = verbs.find((one) => one === command);
  if (verb === undefined) throw new CniError(cniCodes.invalidEnvironment, `unknown CNI_COMMAND: ${command}`);
  return verb;
}

/** The CNI_* variables for executing another plugin. All are set, so that none is inherited from an outer call. */
export function encodeEnv(
  request: Pick<CniRequest, "verb" | "containerId" | "netns" | "ifName" | "path" | "netnsOverride">,
  args: Iterable<readonly [string, string]>,
): Readonly<Record<string, string>> {
  return {
    CNI_COMMAND: request.verb,
    CNI_CONTAINERID: request.containerId,
    CNI_NETNS: request.netns,
    CNI_IFNAME: request.ifName,
    CNI_ARGS: formatArgs(args),
    CNI_PATH: request.path.join(":"),
    CNI_NETNS_OVERRIDE: request.netnsOverride ? "1" : "",
  };
}

/** What is left of a plugin process that ended: its exit status and its output. */
export interface PluginOutput {
  /** Absent if a signal ended it. */
  readonly exitCode?: number;
  readonly signal?: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** What a plugin answers on success: exit status 0, and a document on stdout if the verb has one. */
export function successOutput(document?: JsonObject): PluginOutput {
  return output(0, document);
}

/** What a plugin answers on failure: exit status 1 and the error on stdout. */
export function failureOutput(error: unknown, cniVersion: string): PluginOutput {
  return output(1, CniError.from(error).toJson(cniVersion));
}

function output(exitCode: number, document: JsonObject | undefined): PluginOutput {
  const stdout = document === undefined ? "" : formatJson(document);
  return { exitCode, stdout: Buffer.from(stdout), stderr: new Uint8Array() };
}
