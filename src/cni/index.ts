/**
 * The CNI protocol, specification 0.1.0 to 1.1.0: calls, network configurations, results in every version, errors, the
 * frames between shim and agent, and the port behind which address management stands. Pure: it touches no file, socket
 * or process, and knows no plugin. May be imported by every module after it and by the lab.
 */
export { type CniErrorOptions, CniError, cniCodes } from "./errors.ts";
export * as limits from "./limits.ts";
export {
  type Attachment,
  type CniDns,
  type CniInterface,
  type CniIp,
  type CniRequest,
  type CniResult,
  type CniRoute,
  type Ipam,
  type JsonObject,
  type PluginConfig,
  type PodRef,
  type Verb,
  verbs,
} from "./types.ts";
export {
  compareVersions,
  latestVersion,
  type ResultVersion,
  resultVersions,
  supportedVersions,
  versionDocument,
} from "./versions.ts";
