import { never, type Signal, type Steps } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  compareVersions,
  type ForeignPlugin,
  type Ipam,
  type PluginConfig,
} from "#cni";

/** The first version that has CHECK. */
const checkSince = "0.4.0";

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
    if (compareVersions(this.#cniVersion, checkSince) >= 0) await this.#run("CHECK", attachment, o);
  }

  #run(verb: "ADD" | "DEL" | "CHECK", { run }: Attachment, o: Signal): Promise<CniResult> {
    if (run !== undefined) return run(verb, this.#plugin, o);
    throw new CniError(cniCodes.tryAgain, "foreign plugins run only during a call of the runtime", {
      code: "NO_SHIM",
      details: { plugin: this.#plugin.type },
    });
  }
}
