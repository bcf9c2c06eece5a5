import { join } from "node:path";
import { programSelector } from "#api";
import type { Check } from "../check.ts";
import type { NodeFacts } from "./facts.ts";

/** Our network configuration. The runtime uses the first file by name. */
const ownNetworkFile = "00-multus.conf";
/** A token is a fault when less than this part of its life is left. The kubelet renews it when a fifth is left. */
const tokenLeft = 0.1;

const restartAgent = ({ namespace, node }: NodeFacts) =>
  `kubectl -n ${namespace} delete pod -l ${programSelector("agent")} --field-selector spec.nodeName=${node}`;

/** Checks of the files and sockets of a node. */
export const fileChecks: readonly Check<NodeFacts>[] = [
  {
    id: "config-outranked",
    severity: "error",
    finding: `A configuration sorts before our ${ownNetworkFile}: the runtime uses that one and never calls us.`,
    remedy: "Rename the file so that the runtime passes it over.",
    find: ({ cni: { confDir, configs } }) =>
      configs.includes(ownNetworkFile)
        ? configs
            .filter((name) => name < ownNetworkFile)
            .map((name) => ({
              found: `${join(confDir, name)} sorts before ${ownNetworkFile}: the runtime uses it in our place`,
              fix: [`mv ${quote(join(confDir, name))} ${quote(join(confDir, `${name}.disabled`))}`],
            }))
        : [],
  },
  {
    id: "runtime-directory",
    severity: "error",
    finding: "The container runtime reads its network configuration or its plugins from other directories than ours.",
    remedy:
      "Set conf_dir and bin_dir of the runtime to the directories that the release installs into; where the runtime's configuration does not say them, have the release install into the runtime's defaults.",
    find: ({ runtime, namespace, cni: { confDir, binDir } }) => {
      if (runtime === undefined) return [];
      const { file, says, binDirs } = runtime;
      const [firstBinDir = ""] = binDirs;
      const conf = { what: "configurations", is: runtime.confDir, first: runtime.confDir, wanted: confDir };
      const bin = { what: "plugins", is: binDirs.join(", "), first: firstBinDir, wanted: binDir };
      const wrong = [
        ...(runtime.confDir === confDir ? [] : [{ ...conf, isSaid: says.confDir, value: "global.cniConfHostPath" }]),
        ...(binDirs.includes(binDir) ? [] : [{ ...bin, isSaid: says.binDirs, value: "global.cniBinHostPath" }]),
      ];
      return wrong.map(({ what, is, first, wanted, isSaid, value }) => ({
        found: `${file}: the runtime reads ${what} from ${is}${isSaid ? "" : " (its default)"}, ours are in ${wanted}`,
        fix: isSaid
          ? [`sed -i ${quote(`s#"${first}/*"#"${wanted}"#`)} ${quote(file)}`, runtimeRestart(file)]
          : [
              `helm upgrade spiderpool spiderpool/spiderpool -n ${namespace} --reuse-values --set ${value}=${quote(first)}`,
            ],
      }));
    },
  },
  {
    id: "agent-socket",
    severity: "error",
    finding: "Nobody answers on the socket that the plugin executables call: each ADD waits and fails.",
    remedy: "Start the node's agent anew.",
    find: (facts) =>
      facts.agentSocket?.error === undefined
        ? []
        : [{ found: `${facts.agentSocket.path}: ${facts.agentSocket.error}`, fix: [restartAgent(facts)] }],
  },
  {
    id: "token-expiry",
    severity: "error",
    finding: "The agent's service account token has expired or is about to, and the kubelet did not renew it.",
    remedy: "Make the agent's Pod anew; look at the kubelet's log where that does not help.",
    find: (facts) => {
      const { token, now } = facts;
      if (token === undefined) return [];
      const leftMs = token.expires.getTime() - now.getTime();
      if (leftMs > tokenLeft * (token.expires.getTime() - token.issued.getTime())) return [];
      const when = leftMs <= 0 ? "expired at" : "expires at";
      return [
        {
          found: `${token.path} ${when} ${token.expires.toISOString()}: the kubelet did not renew it`,
          fix: [restartAgent(facts)],
        },
      ];
    },
  },
  {
    id: "old-plugin-file",
    severity: "error",
    finding: "A plugin under one of our names is not what we installed: another release's, or a hand's.",
    remedy: "Put the shim back under that name.",
    find: ({ cni: { shim, foreignExecutables } }) =>
      shim === undefined
        ? []
        : foreignExecutables.map((path) => ({
            found: `${path} is not the plugin that this release installed`,
            fix: [`ln -f ${quote(shim)} ${quote(path)}`],
          })),
  },
  {
    id: "apparmor",
    severity: "error",
    finding: "The agent is confined by AppArmor: it can neither enter Pods' namespaces nor write kernel settings.",
    remedy: "Let the agent run unconfined.",
    find: ({ appArmor, namespace }) =>
      appArmor === undefined
        ? []
        : [
            {
              found: `the agent runs confined by AppArmor's profile ${appArmor}`,
              fix: [
                `kubectl -n ${namespace} patch "$(kubectl -n ${namespace} get daemonset -l ${programSelector("agent")} -o name)" --type merge -p ${quote(
                  JSON.stringify({
                    spec: { template: { spec: { securityContext: { appArmorProfile: { type: "Unconfined" } } } } },
                  }),
                )}`,
              ],
            },
          ],
  },
  {
    id: "networkmanager",
    severity: "warning",
    finding:
      "NetworkManager runs and manages the node's ends of Pods' interfaces: it may take them down or configure them.",
    remedy: "Tell NetworkManager to leave veth interfaces alone.",
    find: ({ networkManager }) => {
      if (networkManager === undefined || networkManager.leavesPods) return [];
      const file = join(networkManager.confDir, "99-spiderpool.conf");
      return [
        {
          found: `NetworkManager manages veth interfaces: nothing in ${networkManager.confDir} excludes them`,
          fix: [
            `mkdir -p ${quote(networkManager.confDir)}`,
            `printf '[keyfile]\\nunmanaged-devices=interface-name:veth*\\n' > ${quote(file)}`,
            "systemctl reload NetworkManager",
          ],
        },
      ];
    },
  },
  {
    id: "networkd",
    severity: "warning",
    finding:
      "systemd-networkd removes routing rules and routes that it did not make, whenever it starts: Pods lose their way to the node until the agent has put them back.",
    remedy: "Tell systemd-networkd to keep foreign rules and routes.",
    find: ({ networkd }) => {
      if (networkd === undefined || networkd.keepsForeign) return [];
      const file = join(networkd.confDir, "99-spiderpool.conf");
      const text = "[Network]\\nManageForeignRoutingPolicyRules=no\\nManageForeignRoutes=no\\n";
      return [
        {
          found: `systemd-networkd manages foreign rules and routes: nothing in ${networkd.confDir} says otherwise`,
          fix: [
            `mkdir -p ${quote(networkd.confDir)}`,
            `printf '${text}' > ${quote(file)}`,
            "systemctl restart systemd-networkd",
          ],
        },
      ];
    },
  },
];

function runtimeRestart(file: string): string {
  return `systemctl restart ${file.includes("crio") ? "crio" : "containerd"}`;
}

/** Quotes a word for a POSIX shell, if that is needed. */
export function quote(text: string): string {
  return /^[A-Za-z0-9_./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
