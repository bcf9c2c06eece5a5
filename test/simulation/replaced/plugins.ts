/** `#plugins` as the simulated agent sees it: one plugin that does to the machine's model what `ovs` does to a kernel. */

import type { Signal, Steps } from "#base";
import { type Attachment, CniError, type CniResult, cniCodes, type Ipam, type PluginConfig } from "#cni";
import { formatIp, type Ip } from "#ip";
import { withoutConflicts } from "../../../src/plugins/detection.ts";
import { macOf } from "../cluster/machine.ts";
import { current, type Process } from "../runtime/process.ts";
import { openNetns } from "./linux.ts";

export * from "#plugins";

/** Of the machine's namespaces. */
export function podOf({ netns }: Pick<Attachment, "netns">) {
  return openNetns(netns);
}

/** A longest duration of one effect of the kernel or the switch. */
const effectMsMax = 8;

export function createOvsPlugin({ ipamFor }: { readonly ipamFor: (config: PluginConfig) => Ipam | undefined }) {
  return {
    type: "ovs",
    versions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    decode: (config: PluginConfig) => config,
    add: (config: PluginConfig, attachment: Attachment, steps: Steps) => add(ipamFor(config), attachment, steps),
    check: async (config: PluginConfig, attachment: Attachment, o: Signal) => {
      if (config.prevResult !== undefined) await ipamFor(config)?.check(attachment, config.prevResult, o);
    },
    del: async (config: PluginConfig, attachment: Attachment, o: Signal) => {
      const released = ipamFor(config)?.release(attachment, o);
      takeDown(current(), attachment);
      await slowly(o);
      await released;
    },
    status: async () => {},
  };
}

/** The same order as the real one: the claim is under way while link and port are made; addresses come last. */
async function add(ipam: Ipam | undefined, attachment: Attachment, steps: Steps): Promise<CniResult> {
  const process = current();
  const { machine } = process;
  const { netns, ifName: of, containerId, pod } = attachment;
  const hostName = hostNameOf(attachment);
  const namespace = machine.namespaces.get(netns);
  if (namespace === undefined || namespace.links.has(of)) {
    throw new CniError(cniCodes.failed, "the container already has an interface of this name, or is gone");
  }
  const ask = async (ip: Ip, o: Signal) => {
    await slowly(o);
    return machine.wire?.ask(formatIp(ip), attachment);
  };
  const claim = ipam?.allocate(attachment, steps, ask);
  claim?.catch(() => {});
  const down = { undo: () => takeDown(process, attachment), of };
  const port = steps.run("port", (o) => attach(o), { of, undo: () => void detach(process, hostName) });
  const link = steps.run("link", (o) => makeLink(o), down);

  async function attach(o: Signal): Promise<void> {
    await slowly(o);
    if (process.isDead) return;
    const owner = { contPodUid: pod?.uid ?? "", contNetns: netns, contIface: of };
    machine.ports.set(hostName, { name: hostName, bridge: "br1", owner });
    machine.tellPorts();
  }
  async function makeLink(o: Signal): Promise<void> {
    await slowly(o);
    if (machine.namespaces.get(netns) !== namespace) throw new CniError(cniCodes.failed, "the namespace is gone");
    if (!process.isDead) namespace?.links.set(of, { hostName, ips: [], isUp: true });
  }
  const nothing: CniResult = { interfaces: [], ips: [], routes: [] };
  const [, , first] = await steps.all(port, link, claim ?? Promise.resolve(nothing));
  const asks = ipam !== undefined && machine.detects;
  const given = asks ? await withoutConflicts(first, { ask, ipam, attachment, steps }) : first;
  await steps.run(
    "addresses",
    () => {
      const made = namespace?.links.get(of);
      if (process.isDead || made === undefined || namespace === undefined) return;
      made.ips = given.ips.map(({ address }) => formatIp(address.ip));
      machine.onAddressed(namespace, made.ips);
    },
    { of },
  );
  steps.beside("ofport", (o) => slowly(o), { of });
  return {
    interfaces: [{ name: hostName }, { name: of, mac: macOf(containerId), sandbox: netns }],
    ips: given.ips.map((ip) => ({ ...ip, interface: 1 })),
    routes: given.routes,
  };
}

function takeDown(process: Process, attachment: Attachment): void {
  if (process.isDead) return;
  const { machine } = process;
  const hostName = hostNameOf(attachment);
  for (const { links } of machine.namespaces.values()) {
    if (links.get(attachment.ifName)?.hostName === hostName) links.delete(attachment.ifName);
  }
  detach(process, hostName);
}

function detach({ machine, isDead }: Process, hostName: string): void {
  if (!isDead && machine.ports.delete(hostName)) machine.tellPorts();
}

function hostNameOf({ containerId, ifName }: Attachment): string {
  return `${containerId}-${ifName}`;
}

function slowly(o: Signal): Promise<void> {
  const { clock, random } = current();
  return clock.sleep(random.between(0.1, effectMsMax), o);
}

export function createCoordinatorPlugin() {
  return {
    type: "coordinator",
    versions: [],
    decode: (config: PluginConfig) => config,
    add: async ({ prevResult }: PluginConfig) => prevResult,
    check: async () => {},
    del: async () => {},
  };
}
