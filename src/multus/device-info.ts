/** Where device plugins and CNI plugins tell of devices (NPWG device information specification 1.1.0). */
const folder = "/var/run/k8s.cni.cncf.io/devinfo";

/** The capability by which a CNI plugin is told of its file. */
export const deviceInfoCapability = "CNIDeviceInfoFile";

/** The file in which a device plugin tells of a device that it gave out. */
export function devicePluginFile(resource: string, deviceId: string): string {
  return `${folder}/dp/${fileName(`${resource}-${deviceId}-device.json`)}`;
}

/** The file in which a network's plugins find and tell what is known of the device of an interface. */
export function deviceInfoFile(displayName: string, containerId: string, ifName: string): string {
  return `${folder}/cni/${fileName(`${displayName}-${containerId}_${ifName}`)}`;
}

function fileName(text: string): string {
  return text.replaceAll("/", "-");
}
