import { nodeSubject } from "#kube";
import { NodeFiles } from "../node/install/node.ts";
import type { Context } from "./context.ts";

/** The plugin executables and the CNI configuration that this release keeps on the node, as far as it is told to. */
export function createNodeFiles({ options, log, clock, events }: Context): NodeFiles {
  const { node, namespace, stateDir, cniBinDir, cniConfDir, shim, cniPlugins, cniSocket, clusterNetwork } = options;
  const executables =
    cniBinDir === undefined || shim === undefined
      ? undefined
      : { binDir: cniBinDir, shim, socket: cniSocket, names: cniPlugins, reference: options.referencePlugins };
  const network = cniConfDir === undefined ? undefined : { confDir: cniConfDir, clusterNetwork, namespace };
  const subject = nodeSubject(node);
  const tell = (reason: string, message: string) => {
    log.warn({ node, reason }, message);
    events.record(subject, { type: "Warning", reason, message });
  };
  return new NodeFiles({ executables, network, stateDir, clock, log, tell });
}
