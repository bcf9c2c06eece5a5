import { never, systemClock } from "#base";
import {
  createTransport,
  hasReason,
  type KubeClient,
  type KubeConfig,
  type KubeObject,
  nodes,
  type Resource,
  type Transport,
} from "#kube";
import type { ServerKind } from "./server.ts";

/** The account of a connection: the chart's agent, or one with all rights that none of our policies applies to. */
export type Account = "spiderpool-agent" | "bench-admin";

const namespace = "kube-system";
const o = { signal: never };
const clock = systemClock;
const serviceAccounts: Resource<KubeObject> = {
  group: "",
  version: "v1",
  plural: "serviceaccounts",
  kind: "ServiceAccount",
  namespaced: true,
};
const clusterRoleBindings: Resource<KubeObject> = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterrolebindings",
  kind: "ClusterRoleBinding",
  namespaced: false,
};
const flowSchemas: Resource<KubeObject> = {
  group: "flowcontrol.apiserver.k8s.io",
  version: "v1",
  plural: "flowschemas",
  kind: "FlowSchema",
  namespaced: false,
};

/**
 * Exempts the account from priority and fairness. Otherwise at most 300 requests of one flow may wait, which is fewer than the
 * connections of the floor send.
 */
const administratorsFlow = {
  metadata: { name: "bench-admin" },
  spec: {
    priorityLevelConfiguration: { name: "exempt" },
    matchingPrecedence: 100,
    rules: [
      {
        subjects: [{ kind: "ServiceAccount", serviceAccount: { namespace, name: "bench-admin" } }],
        resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"] }],
      },
    ],
  },
};

/**
 * Makes connections like those of components. On kube-apiserver they have tokens that it signed for a node. An administrator's
 * certificate, which is verified at each request, and impersonation would add 0.4 ms of CPU to each request, which no real
 * cluster has. On the lab's server, the administrator impersonates the account.
 */
export class Access {
  readonly #server: ServerKind;
  readonly #client: KubeClient;
  readonly #config: KubeConfig;

  /** `client` and `config` are the administrator's. */
  private constructor(server: ServerKind, client: KubeClient, config: KubeConfig) {
    this.#server = server;
    this.#client = client;
    this.#config = config;
  }

  /** Creates the accounts. */
  static async create(server: ServerKind, client: KubeClient, config: KubeConfig): Promise<Access> {
    if (server === "real") {
      for (const name of ["spiderpool-agent", "bench-admin"] satisfies Account[])
        await client.create(serviceAccounts, { metadata: { namespace, name } }, o);
      const draft = {
        metadata: { name: "bench-admin" },
        subjects: [{ kind: "ServiceAccount", namespace, name: "bench-admin" }],
        roleRef: { apiGroup: clusterRoleBindings.group, kind: "ClusterRole", name: "cluster-admin" },
      };
      await client.create(clusterRoleBindings, draft, o);
      await client.create(flowSchemas, administratorsFlow, o);
    }
    return new Access(server, client, config);
  }

  /** A connection of its own for the account's Pod on this node. Creates the node if there is none. */
  async connect(account: Account, node: string): Promise<Transport & Disposable> {
    if (this.#server === "lab") return account === "spiderpool-agent" ? this.#impersonated(node) : this.#own();
    const { server, insecureSkipTlsVerify, ca } = this.#config;
    const token = { kind: "data", data: await this.#token(account, node) } as const;
    return createTransport({ server, insecureSkipTlsVerify, namespace, token, ...(ca && { ca }) }, { clock });
  }

  async #token(account: Account, node: string): Promise<string> {
    const { uid } = (await this.#node(node)).metadata;
    const boundObjectRef = { apiVersion: "v1", kind: "Node", name: node, uid };
    const spec = { audiences: [], expirationSeconds: 3_600, boundObjectRef };
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
    const answer = await this.#client.post(serviceAccounts, { namespace, name: account }, "token", body, o);
    return (answer as { readonly status: { readonly token: string } }).status.token;
  }

  async #node(name: string): Promise<KubeObject> {
    try {
      return await this.#client.create(nodes, { metadata: { name } }, o);
    } catch (error) {
      const there = hasReason(error, "AlreadyExists") ? await this.#client.get(nodes, { name }, o) : undefined;
      if (there === undefined) throw error;
      return there;
    }
  }

  #own(): Transport & Disposable {
    return createTransport(this.#config, { clock });
  }

  /** The API server applies the agents' rights, their policies and their place in its queues. */
  #impersonated(node: string): Transport & Disposable {
    const own = this.#own();
    const identity = {
      "impersonate-user": `system:serviceaccount:${namespace}:spiderpool-agent`,
      "impersonate-extra-authentication.kubernetes.io%2fnode-name": node,
    };
    return {
      server: own.server,
      send: (request, signal) => own.send({ ...request, headers: { ...request.headers, ...identity } }, signal),
      [Symbol.dispose]: () => own[Symbol.dispose](),
    };
  }
}
