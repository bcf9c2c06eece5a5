import { must } from "./errors.ts";
import { libc } from "./libc.ts";
import type { Netns } from "./netns.ts";

const afInet = 2;
const datagramCloexec = 2 | 0o2000000;
/** Commands of <linux/ethtool.h> that take a `struct ethtool_value`: the command and a value, u32 each. */
const commands = { readTxChecksum: 0x16, setTxChecksum: 0x17 } as const;

/** Whether the interface leaves checksums of outgoing packets to (real or pretended) hardware. */
export function readTxChecksum(netns: Netns, ifname: string): boolean {
  return ethtool(netns, ifname, commands.readTxChecksum, 0, `read the TX checksum offload of ${ifname}`) !== 0;
}

/**
 * Turns transmit checksum offload on or off. A userspace switch forwards packets as they are, so a Pod behind one must write
 * its checksums itself: with the offload on, ping works and TCP does not.
 */
export function setTxChecksum(netns: Netns, ifname: string, on: boolean): void {
  const what = `turn TX checksum offload of ${ifname} ${on ? "on" : "off"}`;
  ethtool(netns, ifname, commands.setTxChecksum, on ? 1 : 0, what);
}

/** The ioctl acts on the namespace in which its socket was made. */
function ethtool(netns: Netns, ifname: string, command: number, value: number, what: string): number {
  const attempted = `${what} in ${netns.path}`;
  const fd = netns.enter(() => must(libc.socket(afInet, datagramCloexec, 0), attempted));
  try {
    const data = Buffer.alloc(8);
    data.writeUInt32LE(command, 0);
    data.writeUInt32LE(value, 4);
    must(libc.ethtool(fd, ifname, data), attempted);
    return data.readUInt32LE(4);
  } finally {
    libc.close(fd);
  }
}
