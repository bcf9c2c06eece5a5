/**
 * The CNI plugins that run within the agent, one folder each behind one interface. A plugin wires a Pod's interface; which
 * addresses it gets is the business of the Ipam that it is given, and which plugins run, in what order and under which
 * deadline is the agent's. Imports ip, base, linux, ovsdb, api and cni. Only the agent and the doctor (names and rules by which
 * it finds what plugins made) may import it.
 */

export type { ClusterConfig } from "./coordinator/config.ts";
export { rulePreference as nodeRulePreference } from "./coordinator/connectivity.ts";
export { hostVethName } from "./coordinator/plan.ts";
export { createCoordinatorPlugin } from "./coordinator/plugin.ts";
export type { ReplyMarks } from "./coordinator/reply-marks.ts";
export { allocateForeign, type Detection, noDetection } from "./detection.ts";
export { createIfacerPlugin } from "./ifacer/plugin.ts";
export { freePodOf, podOf } from "./open-pod.ts";
export { ovsEndpointOf } from "./ovs/config.ts";
export { createOvsPlugin } from "./ovs/plugin.ts";
export { createMirrorPlugin } from "./ovs-mirror/plugin.ts";
export { Together } from "./pairs.ts";
export { createPassthruPlugin } from "./passthru.ts";
export type { Plugin } from "./plugin.ts";
export { createIpvlanPlugin, createMacvlanPlugin, createVlanPlugin } from "./sub-interface/plugin.ts";
