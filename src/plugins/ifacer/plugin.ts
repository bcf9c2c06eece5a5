import { codeOf, hasCode, type Logger, type Signal, SpiderError, type Steps } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  emptyResult,
  type PluginConfig,
  supportedVersions,
} from "#cni";
import { formatPrefix } from "#ip";
import { mainTable, type Netns } from "#linux";
import { differs } from "../check.ts";
import { nodeInterfaces } from "../node-interfaces.ts";
import type { Plugin } from "../plugin.ts";
import { type IfacerConfig, type Wanted, wantedOf } from "./config.ts";
import { execute } from "./execute.ts";
import { namesOf, type Observed, type Operation, planInterfaces } from "./plan.ts";

interface IfacerPluginOptions {
  /** The node's network namespace. */
  readonly host: Netns;
  readonly log: Logger;
}

/** How many times a plan is made if others create the same interfaces meanwhile. */
const triesMax = 3;
/** RT_SCOPE_UNIVERSE (rtnetlink(7)). */
const globalScope = 0;

/**
 * The plugin `ifacer` makes VLAN interfaces and bonds of the node on demand, for the plugins after it. All Pods of the node share
 * them, so they are never deleted. After a restart of the node the next ADD makes them again.
 */
export function createIfacerPlugin(options: IfacerPluginOptions): Plugin<IfacerConfig> {
  return new IfacerPlugin(options);
}

class IfacerPlugin implements Plugin<IfacerConfig> {
  readonly type = "ifacer";
  readonly versions = supportedVersions;
  readonly #options: IfacerPluginOptions;

  constructor(options: IfacerPluginOptions) {
    this.#options = options;
  }

  decode(config: PluginConfig): IfacerConfig {
    return { config };
  }

  /** Has no undo: when the ADD fails, another Pod may already use the interfaces. */
  async add(c: IfacerConfig, { ifName: of }: Attachment, steps: Steps): Promise<CniResult> {
    const wanted = wantedOf(c);
    await steps.run("link", () => this.#ensure(wanted), { of: `${of}/ifacer` });
    return c.config.prevResult ?? emptyResult;
  }

  /** Throws CniError 999 naming what is missing on the node. */
  async check(c: IfacerConfig): Promise<void> {
    const [missing] = this.#plan(wantedOf(c));
    if (missing !== undefined) throw differs("interface of the node", describe(missing), "absent");
  }

  async del(): Promise<void> {}

  /** Throws CniError 50 if the interfaces could not be made. */
  async status(c: IfacerConfig, _o: Signal): Promise<void> {
    try {
      this.#plan(wantedOf(c));
    } catch (error) {
      throw CniError.from(error, cniCodes.notAvailable);
    }
  }

  #ensure(wanted: Wanted): void {
    const { host, log } = this.#options;
    const ignored = wanted.bond?.options.ignored ?? [];
    for (let tries = 1; ; tries++) {
      const operations = this.#plan(wanted);
      if (operations.length === 0) return;
      for (const operation of operations) if (operation.do === "enslave") this.#warnOfAddresses(operation.name);
      try {
        execute(host.rtnl, operations);
        log.info(
          { made: operations.map(describe), ...(ignored.length > 0 && { ignored }) },
          "interfaces made on the node",
        );
        return;
      } catch (error) {
        if (hasCode(error, "EEXIST") && tries < triesMax) continue;
        throw explain(error, wanted);
      }
    }
  }

  #plan(wanted: Wanted): readonly Operation[] {
    const { rtnl } = this.#options.host;
    const found = namesOf(wanted).flatMap((name) => rtnl.link(name) ?? []);
    const observed: Observed = {
      links: new Map(found.map((link) => [link.name, link])),
      vlans: () => rtnl.links({ kind: "vlan" }),
      existing: () => nodeInterfaces(this.#options.host),
    };
    return planInterfaces(wanted, observed);
  }

  /** Warns that a new member of a bond has addresses: they no longer work, and the node may have been reached by them. */
  #warnOfAddresses(name: string): void {
    const { host, log } = this.#options;
    const addresses = host.rtnl.addresses({ link: name }).filter(({ scope }) => scope === globalScope);
    const defaults = ([4, 6] as const)
      .flatMap((family) => host.rtnl.routes({ family, table: mainTable, link: name }))
      .filter(({ dst }) => dst.bits === 0);
    if (addresses.length === 0 && defaults.length === 0) return;
    const fields = {
      interface: name,
      addresses: addresses.map(({ address }) => formatPrefix(address)),
      defaultRoutes: defaults.map(({ dst }) => formatPrefix(dst)),
    };
    log.warn(fields, "an interface with addresses or a default route becomes a member of a bond: they stop working");
  }
}

/** Adds the wanted interface to an error of the kernel. */
function explain(error: unknown, { bond, vlanId }: Wanted): unknown {
  const code = codeOf(error);
  if (code === "EOPNOTSUPP") {
    const kinds = [...(bond === undefined ? [] : ["bond"]), ...(vlanId === undefined ? [] : ["vlan"])];
    const modules = [...(bond === undefined ? [] : ["bonding"]), ...(vlanId === undefined ? [] : ["8021q"])];
    return new SpiderError("LINK_KIND_UNKNOWN", `the node's kernel has no ${kinds.join(" or no ")} interfaces`, {
      cause: error,
      details: { fix: `load the kernel module: modprobe -a ${modules.join(" ")}` },
    });
  }
  if (bond === undefined || (code !== "EINVAL" && code !== "EACCES")) return error;
  return new SpiderError("IFACER_BOND_REFUSED", `the kernel refuses the bond ${bond.name}`, {
    cause: error,
    details: {
      mode: bond.mode,
      fix: "see which options go with this mode: miimon excludes arp_interval; primary needs mode 1, 5 or 6",
    },
  });
}

function describe(operation: Operation): string {
  switch (operation.do) {
    case "make bond":
      return `bond ${operation.name} in mode ${operation.mode}`;
    case "enslave":
    case "activate":
      return `${operation.name} ${operation.do === "enslave" ? "in" : "active in"} bond ${operation.bond}`;
    case "make VLAN":
      return `VLAN interface ${operation.name}`;
    case "up":
      return `${operation.name} up`;
  }
}
