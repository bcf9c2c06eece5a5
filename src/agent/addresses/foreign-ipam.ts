import { never, type Signal, type Steps } from "#base";
import { type Attachment, type CniResult, type ForeignPlugin, type Ipam, type PluginConfig, versionHas } from "#cni";
import { runForeign } from "../sandboxes/foreign.ts";

/**
 * Address management by a plugin that is not ours (`static`, `host-local`, …), behind the port that our plugins know. It
 * gets what they got on stdin, unchanged.
 */
export class ForeignIpam implements Ipam {
  readonly #plugin: ForeignPlugin;
  readonly #cniVersion: string;

  constructor(type: string, { raw, cniVersion }: PluginConfig) {
    this.#plugin = { type, config: raw };
    this.#cniVersion = cniVersion;
  }

  allocate(attachment: Attachment, steps: Steps): Promise<CniResult> {
    return steps.run("claim", (o) => this.#run("ADD", attachment, o), {
      of: `${attachment.ifName}/${this.#plugin.type}`,
      undo: async () => void (await this.#run("DEL", attachment, { signal: never })),
    });
  }

  async release(attachment: Attachment, o: Signal): Promise<void> {
    await this.#run("DEL", attachment, o);
  }

  async check(attachment: Attachment, _got: CniResult, o: Signal): Promise<void> {
    if (versionHas(this.#cniVersion, "CHECK")) await this.#run("CHECK", attachment, o);
  }

  #run(verb: "ADD" | "DEL" | "CHECK", attachment: Attachment, o: Signal): Promise<CniResult> {
    return runForeign(verb, this.#plugin, attachment, o);
  }
}
