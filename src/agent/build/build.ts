import { masterAddresses } from "../addresses/master.ts";
import type { CallHandler } from "../calls/server.ts";
import { cutOff } from "../node/cut.ts";
import { type Addresses, createAddresses } from "./addresses.ts";
import { startBackground } from "./background.ts";
import { createCalls } from "./calls.ts";
import { createContext, type Given } from "./context.ts";
import { createIpamApi } from "./ipam-api.ts";
import { createNodeFiles } from "./node-files.ts";
import { createPlugins } from "./plugins.ts";

/** What {@link build} gives: the two ways in, and what must end with it. */
export type Serving = ReturnType<typeof build>;

/**
 * Everything of the agent that acts on the node; there may be only one of it. A CNI call goes from `handle` through
 * {@link createCalls} to a plugin of {@link createPlugins}, which asks for its addresses in {@link createAddresses};
 * {@link startBackground} mends what changes without a call.
 */
export function build(given: Given) {
  const context = createContext(given);
  const { cluster, host } = context;
  const addresses: Addresses = createAddresses(context, {
    exclusive: (containerId, act, o) => calls.exclusive(containerId, act, o),
    claimedAgain: (pod) => views.addressed(pod),
    cut: (record) => cutOff(record, host),
    masterAddresses: (device) => masterAddresses(device, host),
    nodes: () => cluster.release?.nodes ?? 1,
  });
  const chain = createPlugins(context, addresses);
  const { calls, views } = createCalls(context, addresses, chain);
  const { doctor, faults } = startBackground(context, { addresses, chain, calls, views });
  const { records, events, metrics } = context;
  metrics.watch({
    calls: () => calls.depth,
    sandboxes: () => records.list().length,
    claims: () => addresses.ledger.claims().length,
    eventsDropped: () => events.dropped,
  });
  const handle: CallHandler = (call, caller) => calls.handle(call, caller);
  const api = createIpamApi(context, addresses, calls);
  return { handle, api, doctor, faults, views, files: createNodeFiles(context) };
}
