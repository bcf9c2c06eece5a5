import type { JsonObject, Network } from "#cni";
import type { Ip } from "#ip";

/** A NetworkAttachmentDefinition (k8s.cni.cncf.io/v1), as far as it matters here. */
export interface Nad {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly config?: string };
}

/** One network that a Pod asks for: an element of its annotation. */
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
  /** Gateways of the Pod's default routes; empty: this network's own default routes hold. */
  readonly defaultRoute?: readonly Ip[];
  readonly ipamClaimReference?: string;
}

/** One network to attach, resolved: the first of a Pod's delegates answers the runtime, all others are additional. */
export interface Delegate {
  /** `<namespace>/<name>` of the NAD, else the name in the configuration. For status and Events. */
  readonly displayName: string;
  /** The configuration, complete: cni-args merged, device injected. */
  readonly network: Network;
  readonly ifName: string;
  /** Its result is the answer to the runtime. */
  readonly master: boolean;
  readonly selection?: NetworkSelection;
  /** The device plugin resource of which the delegate wants a device (NAD annotation k8s.v1.cni.cncf.io/resourceName). */
  readonly resourceName?: string;
  /** The device that it got. */
  readonly deviceId?: string;
  /** Where its plugins find and tell what is known of the device; the master has none. */
  readonly deviceInfoFile?: string;
}

/** Where configurations come from; the caller reads watches and files. Paths are those of the node. */
export interface ConfigSource {
  nad(namespace: string, name: string): Nad | undefined;
  /** The names of the files directly in a directory, in any order; undefined if there is no such directory. */
  directory(path: string): readonly string[] | undefined;
  /** A file's text; undefined if there is no such file. */
  file(path: string): string | undefined;
}
