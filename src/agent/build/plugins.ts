import {
  createCoordinatorPlugin,
  createIfacerPlugin,
  createIpvlanPlugin,
  createMacvlanPlugin,
  createMirrorPlugin,
  createOvsPlugin,
  createPassthruPlugin,
  createVlanPlugin,
  type Plugin,
} from "#plugins";
import { clusterConfigOf } from "../cluster/cluster-config.ts";
import { Chain } from "../sandboxes/chain.ts";
import { ForeignPlugins } from "../sandboxes/foreign.ts";
import { holderOfMac } from "../sandboxes/macs.ts";
import type { Addresses } from "./addresses.ts";
import type { Context } from "./context.ts";

/** Every CNI plugin that runs in this process; others are run by the shim. */
export function createPlugins(context: Context, { ipamFor }: Pick<Addresses, "ipamFor">): Chain {
  const { tasks, cluster, ovsClients, detection, host, log, records } = context;
  const ovsFor = (endpoint: string | undefined) => ovsClients.get(endpoint);
  const holderOf = (mac: string, except: string) => holderOfMac(records, mac, except);
  const plugins = [
    createMirrorPlugin("producer", { ovsFor }),
    createMirrorPlugin("consumer", { ovsFor }),
    createOvsPlugin({ host, ovsFor, ipamFor, tasks, detection }),
    createIfacerPlugin({ host, log }),
    createMacvlanPlugin({ host, ipamFor, tasks, detection, holderOf }),
    createIpvlanPlugin({ host, ipamFor, tasks, detection, attached: () => records.plugins() }),
    createVlanPlugin({ host, ipamFor, tasks, detection }),
    createCoordinatorPlugin({
      host,
      tasks,
      clusterConfig: (attachment, o) => clusterConfigOf(cluster, attachment, o),
    }),
    createPassthruPlugin(),
  ];
  return new Chain(plugins as readonly Plugin<unknown>[], new ForeignPlugins());
}
