/** What a large cluster has. */
export interface LargeCluster {
  readonly claims: number;
  /** Pods that hold them, two claims each; 0: the controller sees none. */
  readonly pods: number;
}

/** An object as the API server keeps it, as much of it as is read here. */
interface Stored extends Readonly<Record<string, unknown>> {
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly namespace?: string };
}

export const poolSize = 30_000;
export const nodeCount = 1_000;

function hex(of: number, digits: number): string {
  return ((of * 2_654_435_761) % 2 ** 32)
    .toString(16)
    .padStart(8, "0")
    .repeat(Math.ceil(digits / 8))
    .slice(0, digits);
}

function uid(kind: number, of: number): string {
  return `${hex(of + kind, 8)}-${hex(of, 4)}-4${hex(of, 3)}-8${hex(of, 3)}-${hex(of + 7, 12)}`;
}

/** The address of a claim. */
const addressAt = (at: number) => {
  const inPool = at % poolSize;
  return `10.${1 + Math.floor(at / poolSize)}.${inPool >> 8}.${inPool & 255}`;
};

/** A claim, as agents write them. */
export function claimAt(at: number): Stored {
  const pool = Math.floor(at / poolSize);
  const [pod, node] = [at >> 1, `worker-${String((at >> 1) % nodeCount).padStart(4, "0")}`];
  const address = addressAt(at);
  const manager = { manager: "spiderpool-agent", operation: "Update", apiVersion: "spiderpool.spidernet.io/v2beta1" };
  return {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderIPAddress",
    metadata: {
      name: address,
      uid: uid(1, at),
      resourceVersion: String(1_000 + at),
      generation: 1,
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { pool: `pool-${pool}`, node },
      managedFields: [{ ...manager, time: "2026-01-01T00:00:00Z", fieldsType: "FieldsV1", fieldsV1: { "f:spec": {} } }],
    },
    spec: {
      format: 1,
      address,
      purpose: "Pod",
      pool: `pool-${pool}`,
      poolUID: uid(2, pool),
      poolGeneration: 1,
      node,
      bootID: uid(3, pod % nodeCount),
      podNamespace: `team-${pod % 200}`,
      podName: `service-${pod % 5_000}-${hex(pod, 10)}`,
      podUID: uid(4, pod),
      nic: at % 2 === 0 ? "eth0" : "net1",
      containerID: hex(at, 64),
      network: "underlay",
      answer: '{"prefix":16,"gw":"10.1.0.1"}',
      since: "2026-01-01T00:00:00.000Z",
    },
  };
}

/** A pool of {@link poolSize} addresses. */
export function poolAt(at: number): Stored {
  const base = `10.${1 + at}`;
  return {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderIPPool",
    metadata: {
      name: `pool-${at}`,
      uid: uid(2, at),
      resourceVersion: "1",
      generation: 1,
      finalizers: ["spiderpool.spidernet.io"],
      labels: {},
    },
    spec: { ipVersion: 4, subnet: `${base}.0.0/16`, ips: [`${base}.0.0-${base}.255.254`], gateway: `${base}.255.255` },
  };
}

/** A Pod that holds two claims. */
export function podAt(at: number): Stored {
  const name = `service-${at % 5_000}-${hex(at, 10)}`;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: `team-${at % 200}`, name, uid: uid(4, at), resourceVersion: "1", labels: { app: name } },
    spec: {
      nodeName: `worker-${String(at % nodeCount).padStart(4, "0")}`,
      containers: [{ name: "app", image: "registry/app:1", resources: { requests: { cpu: "1" } } }],
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
    },
    status: { phase: "Running", podIPs: [{ ip: addressAt(at * 2) }], conditions: [{ type: "Ready", status: "True" }] },
  };
}

/** A node that is Ready. */
export function nodeAt(at: number): Stored {
  const name = `worker-${String(at).padStart(4, "0")}`;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, uid: name, resourceVersion: "1" },
    spec: {},
    status: { conditions: [{ type: "Ready", status: "True" }] },
  };
}
