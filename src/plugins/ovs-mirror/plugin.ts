import { never, type Signal, type Steps } from "#base";
import { type Attachment, CniError, type CniResult, cniCodes, type PluginConfig, supportedVersions } from "#cni";
import { hasRole, type MirrorRole, type Ovs } from "#ovsdb";
import { requirePrevious } from "../check.ts";
import { readFlatFile } from "../ovs/config.ts";
import { retriable } from "../ovs/retriable.ts";
import type { Plugin } from "../plugin.ts";
import { decodeMirrorConfig, type MirrorConfig, type MirrorKind } from "./config.ts";

interface MirrorPluginOptions {
  /** The client for a configuration's socket_file; undefined: the node's usual database. */
  readonly ovsFor: (endpoint: string | undefined) => Ovs;
  /** @default the usual places of ovs.conf */
  readonly flatFiles?: readonly string[];
}

/**
 * The chained plugins `ovs-mirror-producer` and `ovs-mirror-consumer`: they add the port of the `ovs` plugin before them to
 * mirrors of its bridge, as source or as output.
 */
export function createMirrorPlugin(kind: MirrorKind, options: MirrorPluginOptions): Plugin<MirrorConfig> {
  return new MirrorPlugin(kind, options);
}

class MirrorPlugin implements Plugin<MirrorConfig> {
  readonly type: string;
  readonly versions = supportedVersions;
  readonly #kind: MirrorKind;
  readonly #options: MirrorPluginOptions;

  constructor(kind: MirrorKind, options: MirrorPluginOptions) {
    this.type = `ovs-mirror-${kind}`;
    this.#kind = kind;
    this.#options = options;
  }

  decode(config: PluginConfig): MirrorConfig {
    return decodeMirrorConfig(this.#kind, config);
  }

  /** Returns the previous result unchanged. */
  async add(c: MirrorConfig, { ifName: of }: Attachment, steps: Steps): Promise<CniResult> {
    const previous = requirePrevious(c.config.prevResult);
    const { ovs, bridge } = this.#open(c);
    for (const role of rolesOf(c, ovs, bridge, previous)) {
      await steps.run("port", (o) => retriable(ovs.mirror(role, o)), {
        of: `${of}/${role.mirror}`,
        undo: () => ovs.unmirror(role, { signal: never }),
      });
    }
    return previous;
  }

  async restore(c: MirrorConfig, _attachment: Attachment, o: Signal): Promise<readonly string[]> {
    const { ovs, bridge } = this.#open(c);
    if (ovs.state.kind !== "connected") return [];
    const missing = rolesOf(c, ovs, bridge, requirePrevious(c.config.prevResult)).filter(
      (role) => !isInPlace(ovs, role),
    );
    for (const role of missing) await retriable(ovs.mirror(role, o));
    return missing.map(({ mirror, port }) => `port ${port} in mirror ${mirror}`);
  }

  async check(c: MirrorConfig, _attachment: Attachment, o: Signal): Promise<void> {
    const { ovs, bridge } = this.#open(c);
    await retriable(ovs.synced(o));
    const missing = rolesOf(c, ovs, bridge, requirePrevious(c.config.prevResult)).find((role) => !isInPlace(ovs, role));
    if (missing === undefined) return;
    throw new CniError(cniCodes.failed, "the attachment is not as it was made", {
      details: {
        what: "mirror",
        expected: missing,
        found: ovs.mirrors().find((one) => one.bridge === missing.bridge && one.name === missing.mirror) ?? "absent",
      },
    });
  }

  /** Needs the result of ADD; without one there was no ADD. OVSDB itself takes a port that is gone out of its mirrors. */
  async del(c: MirrorConfig, _attachment: Attachment, o: Signal): Promise<void> {
    const names = hostNames(c.config.prevResult);
    if (names.length === 0) return;
    const { ovs, bridge } = this.#open(c);
    await retriable(ovs.synced(o));
    const bridges = bridge === undefined ? [...ovs.bridges().keys()] : [bridge];
    for (const port of names) {
      for (const on of bridges) {
        for (const { name: mirror, sides } of c.mirrors) {
          await retriable(ovs.unmirror({ bridge: on, mirror, port, sides }, o));
        }
      }
    }
  }

  #open({ fields, configurationPath }: MirrorConfig): { readonly ovs: Ovs; readonly bridge: string | undefined } {
    const flat = readFlatFile(configurationPath, this.#options.flatFiles);
    return {
      ovs: this.#options.ovsFor(fields.socketFile ?? flat?.socketFile),
      bridge: fields.bridge ?? flat?.bridge,
    };
  }
}

/** The parts that the Pod's port has in the configured mirrors. Throws CniError 999 if the bridge has no port of the Pod. */
function rolesOf(
  { mirrors }: MirrorConfig,
  ovs: Ovs,
  bridge: string | undefined,
  previous: CniResult,
): readonly MirrorRole[] {
  const names = hostNames(previous);
  const port = names.map((name) => ovs.ports().get(name)).find((one) => one !== undefined);
  if (port === undefined || (bridge !== undefined && port.bridge !== bridge)) {
    throw new CniError(cniCodes.failed, "the mirrors' bridge has no port of the Pod", {
      details: {
        bridge: bridge ?? "any",
        interfaces: names,
        found: port === undefined ? "no port" : `port ${port.name} of bridge ${port.bridge}`,
        fix: "put the ovs plugin, with the same bridge, before the mirror plugins in the network's `plugins`",
      },
    });
  }
  return mirrors.map(({ name, sides }) => ({ bridge: port.bridge, mirror: name, port: port.name, sides }));
}

function isInPlace(ovs: Ovs, role: MirrorRole): boolean {
  const found = ovs.mirrors().find(({ bridge, name }) => bridge === role.bridge && name === role.mirror);
  return found !== undefined && hasRole(found, role);
}

function hostNames(result: CniResult | undefined): readonly string[] {
  return (result?.interfaces ?? []).filter(({ sandbox = "" }) => sandbox === "").map(({ name }) => name);
}
