import { programSelector } from "#api";
import type { Cause } from "./cause.ts";
import type { Facts } from "./facts.ts";
import { type Fix, shellLine } from "./fix.ts";

/** The fixes for a part of the system that does not work, the likeliest first. */
export function systemFixes(
  { pod, installation }: Facts,
  { code, sentence }: Pick<Cause, "code" | "sentence">,
): readonly Fix[] {
  const { nodeName: node } = pod;
  if (node === undefined) return [];
  const onNode = (text: string, ...command: readonly string[]): readonly Fix[] => [
    { text, command: shellLine(command), node },
  ];
  switch (code) {
    case "AGENT_UNREACHABLE": {
      const where = ["-l", programSelector("agent"), `--field-selector=spec.nodeName=${node}`];
      const command = shellLine(["kubectl", "delete", "pod", "-n", installation.namespace, ...where]);
      return [{ text: `start the agent of node ${node} anew; its log says why it ended`, command }];
    }
    case "OVSDB_UNREACHABLE":
    case "OVSDB_SILENT":
    case "OVS_PORT_NOT_READY":
      return onNode("start Open vSwitch", "systemctl", "restart", "openvswitch-switch");
    case "STATE_NOT_WRITTEN": {
      const folder = /folder (\/[\w./-]+),/.exec(sentence)?.[1];
      if (folder === undefined) return [];
      if (!sentence.includes("EROFS")) return onNode("see what fills the disk", "df", folder);
      return onNode("make the file system writable again", "mount", "-o", "remount,rw", folder);
    }
    case "NODE_NOT_READY":
      return onNode("start the kubelet", "systemctl", "restart", "kubelet");
    case "STICKY_HELD": {
      const former = / on node (\S+) still has it/.exec(sentence)?.[1];
      // Only a person knows whether the node is gone for good, so that the command is part of the text: no script runs it.
      if (former === undefined) return [];
      return [{ text: `where node ${former} is gone for good, delete its Node object: kubectl delete node ${former}` }];
    }
    default:
      return [];
  }
}
