/**
 * The CNI protocol, specification 0.1.0 to 1.1.0: calls, network configurations, results in every version, errors, the
 * frames between shim and agent, and `Ipam`, the interface of address management. The module is pure: it touches no file,
 * socket or process, and knows no plugin. Every later module and the lab may import it.
 */
export { decodeCall, encodeEnv, failureOutput, type PluginOutput, type RawCall, successOutput } from "./call.ts";
export { adviceMark, CniError, cniCodes } from "./errors.ts";
export { decodeOutput } from "./foreign.ts";
export { type ExecFrame, encodeFrame, type Frame, FrameReader, noSuchPlugin } from "./frames.ts";
export { formatJson, parseJson, parseJsonObject } from "./json.ts";
export { stdinBytesMax } from "./limits.ts";
export {
  appendPlugins,
  decodeNetwork,
  type Network,
  type NetworkPlugin,
  type PluginCall,
  pluginInput,
  type ValidAttachment,
  validAttachments,
} from "./network.ts";
export { decodeResult, emptyResult, encodeResult } from "./result.ts";
export { hintMark, ownCode, sentenceOf } from "./sentence.ts";
export { formatShimSettings, shimSettingsFile } from "./shim-settings.ts";
export {
  type AddressConflict,
  type Attachment,
  type CniInterface,
  type CniIp,
  type CniRequest,
  type CniResult,
  type CniRoute,
  type ForeignPlugin,
  type Ipam,
  type PluginConfig,
  type PodRef,
  type Probe,
  type RunForeign,
  type Verb,
  verbs,
} from "./types.ts";
export { checkContainerId, checkIfName, ifNameFault } from "./validate.ts";
export { latestVersion, supportedVersions, versionDocument, versionHas } from "./versions.ts";
