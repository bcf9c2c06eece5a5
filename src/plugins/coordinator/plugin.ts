import type { Signal, Steps, Tasks } from "#base";
import { type Attachment, CniError, type CniResult, cniCodes, supportedVersions } from "#cni";
import { hostPrefix, samePrefix } from "#ip";
import { announce, type Netns, readNetnsId, type VethPair } from "#linux";
import { requirePrevious } from "../check.ts";
import { openPod, podOf } from "../open-pod.ts";
import { type PairSpec, removePairs, type Together } from "../pairs.ts";
import type { Plugin } from "../plugin.ts";
import {
  type ClusterConfig,
  type CoordinatorConfig,
  decodeCoordinatorConfig,
  type Settings,
  settingsOf,
} from "./config.ts";
import { apply, execute } from "./execute.ts";
import { NodeAddresses } from "./node-addresses.ts";
import { hostLink, observe } from "./observe.ts";
import { type Change, formatOperations, type Operations } from "./operations.ts";
import { hostVethName, pairOf, planCoordinator } from "./plan.ts";
import { nftReplyMarks, type ReplyMarks } from "./reply-marks.ts";
import { vethName } from "./role.ts";

interface CoordinatorPluginOptions {
  /** The namespace of the node's own interfaces. */
  readonly host: Netns;
  /** The cluster's part of the configuration, for this Pod. If it throws, ADD and CHECK fail, but never DEL. */
  readonly clusterConfig: (attachment: Attachment, options: Signal) => Promise<ClusterConfig>;
  /** Owns work that goes on after an answer, and the watch of the node's addresses. */
  readonly tasks: Tasks;
  /** @default by nf_tables */
  readonly replyMarks?: ReplyMarks;
}

/**
 * The chained plugin `coordinator`: makes a Pod whose interfaces bypass the node reachable from its node, leads its
 * cluster traffic through the node, and gives each of its interfaces a routing table of its own.
 */
export function createCoordinatorPlugin(options: CoordinatorPluginOptions): Plugin<CoordinatorConfig> {
  return new CoordinatorPlugin(options);
}

class CoordinatorPlugin implements Plugin<CoordinatorConfig> {
  readonly type = "coordinator";
  readonly versions = supportedVersions;
  readonly decode = decodeCoordinatorConfig;
  readonly #options: CoordinatorPluginOptions;
  readonly #nodeAddresses: NodeAddresses;

  constructor(options: CoordinatorPluginOptions) {
    this.#options = options;
    this.#nodeAddresses = new NodeAddresses(options.host, options.tasks);
  }

  /** Refuses a Pod that wants the default route on a NIC that it will not have. Otherwise it would silently use another one. */
  async verify(
    c: CoordinatorConfig,
    attachment: Attachment,
    interfaces: readonly string[],
    options: Signal,
  ): Promise<void> {
    if (attachment.ifName === c.firstNic) return;
    const { mode, tunePodRoutes, podDefaultRouteNic: wanted } = await this.#settings(c, attachment, options);
    if (mode === "disabled" || !tunePodRoutes || wanted === undefined || interfaces.includes(wanted)) return;
    const field =
      c.fields.podDefaultRouteNic === undefined ? "the SpiderCoordinator's spec" : "the network's coordinator";
    throw new CniError(
      cniCodes.invalidConfig,
      "podDefaultRouteNIC names an interface that none of the Pod's networks has",
      {
        code: "DEFAULT_ROUTE_NIC",
        details: {
          field,
          found: wanted,
          allowed: interfaces.join(", "),
          fix: "name one of these there; a name that only some Pods have belongs in their annotation",
        },
      },
    );
  }

  /** The pair to the node, which only a Pod needs whose first interface bypasses the node. */
  async pairs(c: CoordinatorConfig, attachment: Attachment, options: Signal): Promise<readonly PairSpec[]> {
    if (attachment.ifName !== c.firstNic) return [];
    const settings = await this.#settings(c, attachment, options);
    return settings.mode === "auto" || settings.mode === "underlay" ? [pairOf(attachment.containerId, settings)] : [];
  }

  /** A repeated ADD makes only what is missing. A failed one undoes what it made itself, and nothing of an earlier ADD. */
  async add(c: CoordinatorConfig, attachment: Attachment, steps: Steps, together?: Together): Promise<CniResult> {
    const previous = requirePrevious(c.config.prevResult);
    const { host, tasks } = this.#options;
    const { ifName: of, containerId } = attachment;
    let made: { readonly operations: Operations; readonly settings: Settings } | undefined;
    let mac: string | undefined;
    const act = async (options: Signal) => {
      const settings = await this.#settings(c, attachment, options);
      if (settings.mode === "disabled") return;
      const fresh = together?.pair(hostVethName(containerId));
      if (fresh === undefined) await host.rtnl.linkGone(hostVethName(containerId));
      const pod = podOf(attachment, steps);
      const { observed, operations } = this.#plan(attachment, pod, settings, fresh);
      made = { operations, settings };
      await execute(operations, observed, { host, pod, marks: this.#marks, settings });
      const link = observed.pod.links.find(({ name }) => name === of);
      mac = macAfter(operations, of) ?? link?.mac;
      if (operations.announce.length === 0 || link === undefined || mac === undefined) return;
      const end = { ...link, mac };
      // Everything is sent before spawn() returns. Only the kernel's closing of the socket, which is slow, goes on.
      tasks.spawn("announce addresses", () => announce(pod, end, operations.announce));
    };
    const undo = async () => {
      if (made?.operations.veth !== undefined) await removePairs(host, [made.operations.veth]);
      else if (of !== c.firstNic && made !== undefined && made.operations.host.length > 0) {
        this.#removeLater(c, attachment, made.settings);
      }
    };
    await steps.run("coordinator", act, { of, undo, blocking: true });
    return withMac(previous, attachment, mac);
  }

  async restore(c: CoordinatorConfig, attachment: Attachment, options: Signal): Promise<readonly string[]> {
    const settings = await this.#settings(c, attachment, options);
    if (settings.mode === "disabled") return [];
    using pod = openPod(attachment.netns);
    const { observed, operations } = this.#plan(attachment, pod, settings);
    await execute(operations, observed, { host: this.#options.host, pod, marks: this.#marks, settings });
    return formatOperations(operations);
  }

  /** Throws unless everything is in place, so that the plan is empty. */
  async check(c: CoordinatorConfig, attachment: Attachment, options: Signal): Promise<void> {
    requirePrevious(c.config.prevResult);
    const settings = await this.#settings(c, attachment, options);
    if (settings.mode === "disabled") return;
    using pod = openPod(attachment.netns);
    const missing = formatOperations(this.#plan(attachment, pod, settings).operations);
    if (missing.length === 0) return;
    throw new CniError(cniCodes.failed, "the attachment is not as it was made", { details: { missing } });
  }

  /**
   * DEL of the first interface removes the pair, and with it all its neighbours and routes on both sides; the rest goes with
   * the Pod's namespace. DEL of a later interface removes its own. The node's rule serves all Pods and stays.
   */
  async del(c: CoordinatorConfig, attachment: Attachment, options: Signal): Promise<void> {
    const { containerId, ifName, netns } = attachment;
    if (ifName === c.firstNic) return this.#removePair(hostVethName(containerId));
    if (netns === "" || readNetnsId(netns) === undefined) return;
    // What is removed does not hang on the Pod's annotations, and the API may not know the Pod any more.
    const settings = this.#settings(c, { ...attachment, pod: undefined }, options);
    this.#removeLater(c, attachment, await settings.catch(() => settingsOf(c, {})));
  }

  get #marks(): ReplyMarks {
    return this.#options.replyMarks ?? nftReplyMarks;
  }

  #plan({ containerId, ifName }: Attachment, pod: Netns, settings: Settings, fresh?: VethPair) {
    const { host } = this.#options;
    const [nodeAddresses, marks] = [this.#nodeAddresses.list(), this.#marks];
    const observed = observe({ containerId, ifName }, { host, pod, settings, nodeAddresses, marks, fresh });
    return { observed, operations: planCoordinator(observed, settings) };
  }

  /** The cluster's part is not read if the plugin's own configuration disables it. */
  async #settings(c: CoordinatorConfig, attachment: Attachment, options: Signal): Promise<Settings> {
    if (c.fields.mode === "disabled") return settingsOf(c, {});
    return settingsOf(c, await this.#options.clusterConfig(attachment, options));
  }

  /** Deletes the pair in the background: an answer does not wait for the kernel. */
  #removePair(name: string): void {
    const { host, tasks } = this.#options;
    const link = host.rtnl.link(name);
    if (link !== undefined) tasks.spawn("delete link", () => host.rtnl.deleteLinkSoon(link));
  }

  /** Removes what an interface other than the first has in the Pod and on the node. */
  #removeLater(c: CoordinatorConfig, attachment: Attachment, { hostRuleTable: table }: Settings): void {
    const { containerId, ifName, netns } = attachment;
    const { host } = this.#options;
    using pod = openPod(netns);
    const links = pod.rtnl.links();
    const index = links.find(({ name }) => name === ifName)?.index;
    if (index === undefined) return;
    const own = pod.rtnl.addresses({ link: index }).map(({ address }) => address.ip);
    const rules = ([4, 6] as const).flatMap((family) => pod.rtnl.rules(family));
    apply(
      pod,
      rules.flatMap(({ family, from, table: of }): readonly Change[] => {
        const isOwn = from !== undefined && own.some((ip) => samePrefix(from, hostPrefix(ip)));
        return isOwn ? [{ kind: "dropRule", rule: { family, from, table: of } }] : [];
      }),
    );
    const mode = links.some(({ name }) => name === vethName) ? "underlay" : "overlay";
    const link = hostLink(host, containerId, { mode, podLink: c.firstNic }, links);
    if (link === undefined) return;
    apply(
      host,
      own.flatMap((ip): readonly Change[] => [
        { kind: "dropRoute", route: { dst: hostPrefix(ip), dev: link.name, table } },
        { kind: "dropNeighbour", dev: link.index, ip },
      ]),
    );
  }
}

/** The MAC address that the plan gives to an interface of the Pod; undefined: it is not changed. */
function macAfter({ pod }: Operations, name: string): string | undefined {
  return pod.flatMap((one) => (one.kind === "link" && one.name === name ? (one.change.mac ?? []) : []))[0];
}

/** The result with the interface's new MAC address: CHECK compares with it, and users read it. */
function withMac(result: CniResult, { ifName, netns }: Attachment, mac: string | undefined): CniResult {
  if (mac === undefined) return result;
  const interfaces = result.interfaces.map((one) =>
    one.name === ifName && one.sandbox === netns ? { ...one, mac } : one,
  );
  return { ...result, interfaces };
}
