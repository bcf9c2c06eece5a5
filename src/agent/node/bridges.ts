import { bridgeResourcePrefix } from "#api";
import { type Clock, formatError, type Logger, type Signal } from "#base";
import { fromStore, type KubeClient, type Node, nodes, runController, type Store } from "#kube";
import type { Ovs } from "#ovsdb";
import type { Release } from "../cluster/release.ts";

/** How many Pods may request a bridge: its number of free ports is unknown. */
const unknownCapacity = "1000";
/** Valid names of extended resources; bridges with other names cannot be advertised. */
const resourceName = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

type Quantities = Readonly<Record<string, unknown>>;

/** The merge patch that makes the node's resources agree with its bridges; undefined if they do. */
export function planBridgeResources(
  bridges: Iterable<string>,
  status: { readonly capacity?: Quantities; readonly allocatable?: Quantities } | undefined,
): { readonly capacity: Quantities; readonly allocatable: Quantities } | undefined {
  const wanted = new Set(
    [...bridges].filter((name) => resourceName.test(name)).map((name) => `${bridgeResourcePrefix}${name}`),
  );
  const change = (found: Quantities = {}): Quantities => {
    const added = [...wanted].filter((key) => found[key] === undefined).map((key) => [key, unknownCapacity]);
    const gone = Object.keys(found).filter((key) => key.startsWith(bridgeResourcePrefix) && !wanted.has(key));
    return Object.fromEntries([...added, ...gone.map((key) => [key, null])]);
  };
  const capacity = change(status?.capacity);
  const allocatable = change(status?.allocatable);
  return Object.keys(capacity).length + Object.keys(allocatable).length === 0 ? undefined : { capacity, allocatable };
}

/** Advertises the bridges in Open vSwitch's database as resources of the node until the signal aborts. */
export function runBridgeResources(
  options: {
    readonly client: KubeClient;
    readonly clock: Clock;
    readonly log: Logger;
    readonly ovs: Ovs;
    readonly nodes: Store<Node>;
    readonly node: string;
    /** Nothing is advertised any more when the release is being removed. */
    readonly release?: Pick<Release, "isGoing"> | undefined;
  },
  { signal }: Signal,
): Promise<void> {
  const { client, clock, log, ovs, node } = options;
  return runController(
    {
      name: "bridge-resources",
      clock,
      log,
      sources: [
        fromStore(options.nodes, ({ metadata }) => (metadata.name === node ? [node] : [])),
        {
          subscribe: (add) => {
            add(node);
            return ovs.changed(() => add(node));
          },
        },
      ],
      reconcile: async (_key, o) => {
        const found = options.nodes.get(node);
        // An unreachable database says nothing about bridges; if it never answered, there are none to advertise.
        if (options.release?.isGoing === true) return {};
        if (found === undefined || (ovs.state.kind === "disconnected" && ovs.bridges().size > 0)) return {};
        const patch = planBridgeResources(ovs.bridges().keys(), found.status);
        if (patch === undefined) return {};
        await client.patch(
          nodes,
          { name: node },
          { kind: "merge", body: { status: patch } },
          { ...o, subresource: "status" },
        );
        log.info({ node, bridges: [...ovs.bridges().keys()] }, "bridges published as node resources");
        return {};
      },
    },
    { signal },
  ).catch((err: unknown) => {
    if (!signal.aborted) log.error({ err: formatError(err) }, "bridges are no longer published");
  });
}
