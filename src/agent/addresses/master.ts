import { readdirSync } from "node:fs";
import { codeOf } from "#base";
import type { Ip } from "#ip";
import type { Netns } from "#linux";

/** Where the kernel shows PCI devices by their addresses. */
const pciDevices = "/sys/bus/pci/devices";

/**
 * The host's addresses on the physical function of a virtual function. `match_master_subnet` compares pools with them. None if
 * `device` is no PCI address of a virtual function, or if its physical function is not in the host's network namespace.
 */
export function masterAddresses(device: string, { rtnl }: Pick<Netns, "rtnl">, devices = pciDevices): readonly Ip[] {
  // It comes from a CNI call, and becomes part of a path.
  if (!/^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(device)) return [];
  return interfacesOf(`${devices}/${device.toLowerCase()}/physfn/net`)
    .filter((name) => rtnl.link(name) !== undefined)
    .flatMap((name) => rtnl.addresses({ link: name }).map(({ address }) => address.ip));
}

function interfacesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}
