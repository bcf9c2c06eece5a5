import type { JsonObject } from "#base";
import type { Network } from "#cni";
import type { Ip } from "#ip";

/** The parts of a NetworkAttachmentDefinition (k8s.cni.cncf.io/v1) that matter here. */
export interface Nad {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly config?: string };
}

/** One network that a Pod asks for: an item of its annotation. */
export interface NetworkSelection {
  readonly namespace: string;
  readonly name: string;
  /** The interface's name in the Pod. */
  readonly interface?: string;
  /** Addresses or CIDRs, as the user wrote them. */
  readonly ips?: readonly string[];
  readonly mac?: string;
  readonly infinibandGuid?: string;
  readonly portMappings?: readonly JsonObject[];
  readonly bandwidth?: JsonObject;
  readonly deviceId?: string;
  readonly cniArgs?: JsonObject;
  /** Gateways of the Pod's default routes. If empty, this network's own default routes are kept. */
  readonly defaultRoute?: readonly Ip[];
  readonly ipamClaimReference?: string;
}

/** One network to attach. The result of a Pod's first delegate is the answer to the runtime; all others are additional. */
export interface Delegate {
  /** `<namespace>/<name>` of the NAD; without a NAD the name in the configuration. For status and Events. */
  readonly displayName: string;
  /** The complete configuration, with cni-args and the device. */
  readonly network: Network;
  readonly ifName: string;
  /** Whether its result is the answer to the runtime. */
  readonly master: boolean;
  /** Its place among all networks of the Pod. Absent where others attach them: then they are not known. */
  readonly position?: number;
  readonly selection?: NetworkSelection;
  /** The device plugin resource that the delegate wants a device of (NAD annotation k8s.v1.cni.cncf.io/resourceName). */
  readonly resourceName?: string;
  /** The ID of the device that it got. */
  readonly deviceId?: string;
  /** Path of the file about the device that its plugins read and write. The master has none. */
  readonly deviceInfoFile?: string;
}

/** Where configurations come from. The caller implements it by watches and files. Paths are those of the node. */
export interface ConfigSource {
  nad(namespace: string, name: string): Nad | undefined;
  /** The names of the files directly in a directory, in any order; undefined if there is no such directory. */
  directory(path: string): readonly string[] | undefined;
  /** A file's text; undefined if there is no such file. */
  file(path: string): string | undefined;
}
