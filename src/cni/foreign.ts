import { isJsonObject } from "#base";
import type { PluginOutput } from "./call.ts";
import { CniError, cniCodes } from "./errors.ts";
import { parseJsonObject } from "./json.ts";
import { decodeResult, emptyResult } from "./result.ts";
import type { CniResult, Verb } from "./types.ts";

/** The length at which quoted output is cut, in bytes. */
const shownBytesMax = 2048;

/** Which plugin ran, for its errors. */
interface ForeignCall {
  readonly verb: Verb;
  readonly type: string;
  /** The network's name. */
  readonly network: string;
  /** The configuration's version. A result that names none has this one. */
  readonly cniVersion: string;
}

/**
 * Reads the outcome of a plugin that ran as a process: its result at ADD; an empty result for the other verbs, whose output
 * is ignored. Throws the plugin's own error with its number, preceded by `plugin type="x" name="y" failed (add)` as in libcni.
 */
export function decodeOutput(call: ForeignCall, output: PluginOutput): CniResult {
  if (output.exitCode !== 0) throw failure(call, output);
  if (call.verb !== "ADD") return emptyResult;
  try {
    return decodeResult(parseJsonObject(output.stdout, "result"), call.cniVersion);
  } catch (error) {
    const { cniCode, message, text } = CniError.from(error);
    throw new CniError(cniCode, `${prefix(call)}: ${message}`, { text, cause: error });
  }
}

function failure(call: ForeignCall, { exitCode, signal, stdout, stderr }: PluginOutput): CniError {
  const status = signal === undefined ? `exit status ${exitCode}` : `signal ${signal}`;
  const said = shown(stderr);
  if (stdout.byteLength === 0) {
    const how =
      said === ""
        ? `netplugin failed with no error message: ${status}`
        : `netplugin failed: ${JSON.stringify(said)}: ${status}`;
    return new CniError(cniCodes.failed, `${prefix(call)}: ${how}`);
  }
  const answer = tryParse(stdout);
  if (answer === undefined) {
    return new CniError(cniCodes.failed, `${prefix(call)}: netplugin failed but error parsing its diagnostic message`, {
      text: `${JSON.stringify(shown(stdout))}: ${status}`,
    });
  }
  return new CniError(answer.code, `${prefix(call)}: ${answer.msg}`, { text: answer.details });
}

function prefix({ verb, type, network }: ForeignCall): string {
  const word = verb === "DEL" ? "delete" : verb.toLowerCase(); // as libcni says it
  return `plugin type=${JSON.stringify(type)} name=${JSON.stringify(network)} failed (${word})`;
}

function tryParse(
  stdout: Uint8Array,
): { readonly code: number; readonly msg: string; readonly details: string } | undefined {
  try {
    const { code, msg, details } = parseJsonObject(stdout, "error");
    return {
      code: typeof code === "number" && Number.isSafeInteger(code) && code > 0 ? code : cniCodes.failed,
      msg: typeof msg === "string" ? msg : "no message",
      details: typeof details === "string" ? details : isJsonObject(details) ? JSON.stringify(details) : "",
    };
  } catch {
    return undefined;
  }
}

function shown(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, shownBytesMax)).trim();
  return bytes.byteLength > shownBytesMax ? `${text}…` : text;
}
