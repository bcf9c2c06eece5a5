import { openNetns, setTxChecksum } from "#linux";
import { ipBatch, run } from "./command.ts";

/** The address plan of one node. */
export interface NodePlan {
  readonly name: string;
  /** In 10.222.0.0/24, on `mgmt0`: API server and kubelet talk here. */
  readonly managementIp: string;
  /** In 172.18.0.0/16, on `eth0`: the data-centre network that Pods get addresses of. */
  readonly ip: string;
  /** In fd00:172:18::/64, on `eth0`. */
  readonly ip6: string;
}

/** The API server's address for nodes. */
export const managementGateway = "10.222.0.1";
/** The data-centre network's router, in each family. */
export const gateway = "172.18.0.1";
export const gateway6 = "fd00:172:18::1";
/** How many nodes fit the address plan, with room to spare. */
export const nodesMax = 64;

/** The plan of the node with this index, from 0: `node1`, 10.222.0.11, 172.18.0.11. Throws RangeError beyond {@link nodesMax}. */
export function nodePlan(index: number): NodePlan {
  if (!Number.isInteger(index) || index < 0 || index >= nodesMax)
    throw new RangeError(`'index' must be an integer from 0 to ${nodesMax - 1}: received ${index}`);
  const host = 11 + index;
  return {
    name: `node${index + 1}`,
    managementIp: `10.222.0.${host}`,
    ip: `172.18.0.${host}`,
    ip6: `fd00:172:18::${host}`,
  };
}

/** The wires of a lab. */
export interface Networks {
  /** Puts `mgmt0` and `eth0` into a node's network namespace (named by a process in it) and gives them addresses and routes. */
  connect(node: NodePlan, pid: number): Promise<void>;
  /** Removes both links. The kernel would do so with the node's namespace, too, but only some time later. */
  disconnect(node: NodePlan): Promise<void>;
}

const switchNetns = "switch";
const inSwitch = ["nsenter", `--net=/run/netns/${switchNetns}`];

/**
 * Makes the management bridge in the current network namespace and the switch, a bridge with the gateway's addresses, in one
 * named `switch`. The switch snoops no multicast: neighbour discovery must reach all ports.
 */
export async function createNetworks(): Promise<Networks> {
  const management = ipBatch(
    [],
    ["link add mgmt type bridge mcast_snooping 0", `addr add ${managementGateway}/24 dev mgmt`, "link set mgmt up"],
  );
  await run(["ip", "netns", "add", switchNetns]);
  await ipBatch(inSwitch, [
    "link set lo up",
    "link add br0 type bridge mcast_snooping 0",
    `addr add ${gateway}/16 dev br0`,
    `addr add ${gateway6}/64 dev br0 nodad`,
    "link set br0 up",
  ]);
  await management;
  finishChecksums(`/run/netns/${switchNetns}`, "br0");
  return { connect, disconnect };
}

async function connect(node: NodePlan, pid: number): Promise<void> {
  await Promise.all([
    ipBatch([], [`link add m-${node.name} up master mgmt type veth peer name mgmt0 netns ${pid}`]),
    ipBatch(inSwitch, [`link add ${node.name} up master br0 type veth peer name eth0 netns ${pid}`]),
  ]);
  await ipBatch(
    ["nsenter", `--target=${pid}`, "--net"],
    [
      "link set lo up",
      `addr add ${node.managementIp}/24 dev mgmt0`,
      "link set mgmt0 up",
      `addr add ${node.ip}/16 dev eth0`,
      `addr add ${node.ip6}/64 dev eth0 nodad`,
      "link set eth0 up",
      `route add default via ${gateway}`,
      `route add ::/0 via ${gateway6}`,
    ],
  );
}

/**
 * Frames leave this link with their checksums filled in, as they would on a wire. A veth or bridge leaves that to hardware
 * that does not exist, which only the kernel at the other end knows; a userspace bridge there drops such TCP segments.
 */
function finishChecksums(netns: string, link: string): void {
  using opened = openNetns(netns);
  setTxChecksum(opened, link, false);
}

async function disconnect(node: NodePlan): Promise<void> {
  const gone = () => {}; // the namespace took it along
  await Promise.all([
    run(["ip", "link", "delete", `m-${node.name}`]).catch(gone),
    run([...inSwitch, "ip", "link", "delete", node.name]).catch(gone),
  ]);
}
