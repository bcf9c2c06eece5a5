/** Where device plugins and CNI plugins write about devices (NPWG device information specification 1.1.0). */
const folder = "/var/run/k8s.cni.cncf.io/devinfo";

/** The capability that carries the path of the file to a CNI plugin. */
export const deviceInfoCapability = "CNIDeviceInfoFile";

/** Path of the file that a device plugin writes about a device that it allocated. */
export function devicePluginFile(resource: string, deviceId: string): string {
  return `${folder}/dp/${fileName(`${resource}-${deviceId}-device.json`)}`;
}

/** Path of the file that a network's plugins read and write about the device of an interface. */
export function deviceInfoFile(displayName: string, containerId: string, ifName: string): string {
  return `${folder}/cni/${fileName(`${displayName}-${containerId}_${ifName}`)}`;
}

function fileName(text: string): string {
  return text.replaceAll("/", "-");
}
