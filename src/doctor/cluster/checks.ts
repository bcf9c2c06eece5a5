import type { Check } from "../check.ts";
import type { ClusterFacts } from "./facts.ts";
import { isOtherVersion, repositoryOf, versionOf } from "./versions.ts";

/** A certificate is a fault when less than this part of its life is left. The controller renews it when a third is left. */
const certificateLeft = 0.1;
/** The levels of Pod Security that refuse privileged Pods. */
const refusing = new Set(["baseline", "restricted"]);
/** So many Pods of a kind are named; their causes are rarely as many. */
const namedPodsMax = 10;
/** What fails without the programs of a workload. */
const missed = { daemonset: "no Pod gets an address", deployment: "pools and networks cannot be changed" };

/** Checks of objects in the API server. `docs/reference/doctor.md` is generated from this table. */
export const clusterChecks: readonly Check<ClusterFacts>[] = [
  {
    id: "cilium-exclusive",
    severity: "error",
    finding: "Cilium runs with cni-exclusive: it renames every other network configuration of a node, ours among them.",
    remedy: "Switch cni-exclusive off and restart Cilium's agents.",
    find: ({ ciliumExclusive }) =>
      ciliumExclusive !== undefined
        ? [
            {
              found: `ConfigMap ${ciliumExclusive.namespace}/${ciliumExclusive.name} has cni-exclusive: Cilium takes our network configuration away`,
              fix: [
                `kubectl -n ${ciliumExclusive.namespace} patch configmap ${ciliumExclusive.name} --type merge -p '{"data":{"cni-exclusive":"false"}}'`,
                `kubectl -n ${ciliumExclusive.namespace} rollout restart daemonset/cilium`,
              ],
            },
          ]
        : [],
  },
  {
    id: "certificate-expiry",
    severity: "error",
    finding:
      "The webhooks' certificate has expired or is about to and was not renewed: our objects can no longer be changed.",
    remedy: "Delete its Secret: the controller, or cert-manager, makes another.",
    find: ({ certificates, now }) =>
      certificates
        .filter(
          ({ from, until }) => until.getTime() - now.getTime() <= certificateLeft * (until.getTime() - from.getTime()),
        )
        .map(({ namespace, secret, until }) => ({
          found: `the certificate of Secret ${namespace}/${secret} ${until < now ? "expired" : "expires"} at ${until.toISOString()} and was not renewed`,
          fix: [`kubectl -n ${namespace} delete secret ${secret}`],
        })),
  },
  {
    id: "pod-security",
    severity: "error",
    finding: "The install namespace enforces a level of Pod Security that refuses the agent, which is privileged.",
    remedy: "Let the namespace admit privileged Pods.",
    find: ({ namespaces }) =>
      namespaces
        .filter(({ enforces }) => refusing.has(enforces))
        .map(({ name, enforces }) => ({
          found: `namespace ${name} enforces Pod Security ${enforces}: agents are refused when they start anew`,
          fix: [`kubectl label namespace ${name} pod-security.kubernetes.io/enforce=privileged --overwrite`],
        })),
  },
  {
    id: "not-running",
    severity: "error",
    finding:
      "A node's agent, or the controller, does not run: no Pod of the node gets addresses, or our objects cannot be changed.",
    remedy: "Make what somebody deleted again from the release; `describe` and `logs` say why a Pod is not ready.",
    find: ({ workloads }) => workloads.flatMap(notRunning),
  },
  {
    id: "pod-without-network",
    severity: "warning",
    finding: "A Pod waits because its node cannot give it its addresses or networks; ten such Pods are named.",
    remedy: "`explain pod` says what the Pod waits for, and by which changes it starts.",
    find: ({ waiting }) => {
      const named = waiting.slice(0, namedPodsMax).map(({ namespace, pod, node, said }) => ({
        found: `Pod ${namespace}/${pod} on ${node} waits for its network: ${said}`,
        fix: [`spiderpoolctl explain pod ${pod} -n ${namespace}`],
      }));
      const further = waiting.length - named.length;
      return further <= 0
        ? named
        : [
            ...named,
            {
              found: `${further} further Pods wait for their networks`,
              fix: ["kubectl get pods -A --field-selector status.phase=Pending"],
            },
          ];
    },
  },
  {
    id: "version-skew",
    severity: "warning",
    finding: "Agents and controllers run different versions, or a Pod runs another than its workload says.",
    remedy: "Give all the controller's version; make a Pod that lags behind anew.",
    find: ({ processes }) => [...differentWorkloads(processes), ...lateProcesses(processes)],
  },
];

function notRunning({ namespace, kind, name, release, replicas, pods }: ClusterFacts["workloads"][number]) {
  const kubectl = `kubectl -n ${namespace}`;
  if (name === undefined) {
    // Helm's own way, though it is longer: after an apply by anything else, the next upgrade fails with conflicts.
    const helm = `helm -n ${namespace}`;
    const revision = `"$(${helm} status ${release} | sed -n 's/^REVISION: //p')"`;
    const again = release === undefined ? "apply the chart again" : `${helm} rollback ${release} ${revision}`;
    const found = `namespace ${namespace} has no ${kind === "daemonset" ? "DaemonSet of agents" : "Deployment of controllers"}: ${missed[kind]}`;
    return [{ found, fix: [again] }];
  }
  const workload = `${kind}/${name}`;
  if (pods.length === 0) {
    const fix = [replicas === 0 ? `${kubectl} scale ${workload} --replicas=1` : `${kubectl} describe ${workload}`];
    return [{ found: `${namespace}: ${workload} has no Pod: ${missed[kind]}`, fix }];
  }
  return pods
    .filter(({ ready }) => !ready)
    .slice(0, namedPodsMax)
    .map((pod) => ({
      found: `Pod ${namespace}/${pod.name} of ${workload} on ${pod.node} is not ready`,
      fix: [`${kubectl} describe pod ${pod.name}`, `${kubectl} logs ${pod.name}`],
    }));
}

type Processes = ClusterFacts["processes"];

function lateProcesses(processes: Processes) {
  return processes
    .filter(({ image, wantedImage }) => image !== wantedImage)
    .map(({ namespace, pod, image, workload, wantedImage }) => ({
      found: `Pod ${namespace}/${pod} runs ${image}, its ${workload} says ${wantedImage}`,
      fix: [`kubectl -n ${namespace} delete pod ${pod}`],
    }));
}

/** A fault for each workload whose version differs from that of the controller in its namespace. */
function differentWorkloads(processes: Processes) {
  const workloads = new Map(processes.map((one) => [`${one.namespace} ${one.workload}`, one]));
  return [...workloads.values()].flatMap(({ namespace, workload, container, wantedImage }) => {
    const leader = [...workloads.values()].find(
      (one) => one.namespace === namespace && one.workload.startsWith("deployment/"),
    );
    if (leader === undefined || !isOtherVersion(leader.wantedImage, wantedImage)) return [];
    const image = `${repositoryOf(wantedImage)}${leader.wantedImage.slice(repositoryOf(leader.wantedImage).length)}`;
    return [
      {
        found: `${namespace}: ${workload} is of version ${versionOf(wantedImage)}, ${leader.workload} of ${versionOf(leader.wantedImage)}`,
        fix: [`kubectl -n ${namespace} set image ${workload} ${container}=${image}`],
      },
    ];
  });
}
