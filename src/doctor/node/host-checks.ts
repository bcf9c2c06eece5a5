import { nodeRulePreference } from "#plugins";
import type { Check } from "../check.ts";
import type { NodeFacts } from "./facts.ts";
import { quote } from "./file-checks.ts";
import { isShutIn } from "./ovs-checks.ts";

/** Value of rp_filter: packets are dropped unless the route back leads through the interface that they came in by. */
const strict = 1;

/** Checks of the node's kernel, and of the network as Pods see it. */
export const hostChecks: readonly Check<NodeFacts>[] = [
  {
    id: "rp-filter",
    severity: "error",
    finding:
      "The kernel drops packets whose way back is another (strict reverse path filter): connections between node and Pod hang.",
    remedy: "Switch the filter off.",
    find: ({ host: { rpFilters } }) => {
      const wrong = [...rpFilters].filter(([, value]) => value === strict).map(([name]) => name);
      return wrong.map((name) => ({
        found: `net.ipv4.conf.${name}.rp_filter is ${strict}: packets of Pods that come by another interface are dropped`,
        // Written with slashes, because the name of an interface may contain dots.
        fix: [`sysctl -w ${quote(`net/ipv4/conf/${name}/rp_filter=0`)}`],
      }));
    },
  },
  {
    id: "host-rule",
    severity: "error",
    finding:
      "The rule that leads the node's packets to its Pods is missing. The agent puts it back within a second, unless it is away or somebody removes it again and again.",
    remedy: "Add the rule.",
    find: ({ pods, host: { rules } }) => {
      const needed = new Map(
        pods.flatMap(({ nics }) =>
          nics.flatMap(({ hostRuleTable: table, addresses }) =>
            table === undefined
              ? []
              : addresses.map(
                  ({ address: { ip } }) => [`${ip.family} ${table}`, { family: ip.family, table }] as const,
                ),
          ),
        ),
      );
      return [...needed.values()]
        .filter(
          ({ family, table }) =>
            !rules.some((r) => r.family === family && r.table === table && r.pref === nodeRulePreference),
        )
        .map(({ family, table }) => ({
          found: `the node has no IPv${family} rule ${nodeRulePreference} that looks up table ${table}, where the routes to its Pods are`,
          fix: [`ip -${family} rule add pref ${nodeRulePreference} lookup ${table}`],
        }));
    },
  },
  {
    id: "nic-gone",
    severity: "error",
    finding:
      "A running Pod has lost a NIC: the node's interface below it was deleted, or somebody removed it. Nothing but a new sandbox gets another one.",
    remedy: "See that the node's interface is there again, then delete the Pod: what replaces it gets a new NIC.",
    find: ({ lostNics }) =>
      lostNics.flatMap(({ pod, ifName }) => {
        const [namespace = "", name] = pod.split("/");
        if (name === undefined) return []; // No Pod's sandbox: whoever made it has to know.
        return {
          found: `Pod ${pod} runs, and has no ${ifName} any more`,
          fix: [`kubectl -n ${quote(namespace)} delete pod ${quote(name)}`],
        };
      }),
  },
  {
    id: "silent-gateway",
    severity: "error",
    finding:
      "A pool's gateway does not answer its Pods (ARP, or neighbour solicitation): they reach nothing beyond their segment.",
    remedy:
      "See where the Pod's way ends; start the gateway or join it to the segment; where the pool names a wrong address, correct spec.gateway and make the Pods anew.",
    find: (facts) => {
      // Without Open vSwitch or an uplink no gateway can answer. Other checks report that already.
      const asked = facts.ovs.error === undefined ? facts.gateways : [];
      const silent = asked.filter((one) => !one.answered && !isShutIn(facts, one));
      return silent.map(({ gateway, pool, pod, ifName }) => ({
        found: `gateway ${gateway}${pool === "" ? "" : ` of pool ${pool}`} does not answer Pod ${pod} on ${ifName}${inVlan(facts, pod, ifName)}`,
        fix: [
          `spiderpoolctl net show ${quote(pod)} --draw`,
          pool === "" ? "kubectl get spiderippools" : `kubectl edit spiderippool ${quote(pool)}`,
        ],
      }));
    },
  },
];

/** The VLAN that a Pod's NIC sends in, for the text of a finding; "" if it sends untagged or in several. */
function inVlan({ pods, ovs: { ports } }: NodeFacts, pod: string, ifName: string): string {
  const nic = pods.find((one) => one.pod === pod)?.nics.find((one) => one.ifName === ifName);
  const vlan = ports.find(({ name }) => nic?.hostLinks.includes(name))?.vlan;
  return vlan?.mode === "access" ? `, in VLAN ${vlan.tag}` : "";
}
