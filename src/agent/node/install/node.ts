import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock, Logger, Signal } from "#base";
import { type ExecutablesOptions, installExecutables, wrongExecutables } from "./executables.ts";
import { readRegularFile, removeTemporary, replaceFile } from "./files.ts";
import { type Finding, keep } from "./keep.ts";
import { Manifest } from "./manifest.ts";
import {
  describeIntruder,
  filesBefore,
  findFormer,
  type NetworkFileOptions,
  networkFile,
  networkFileText,
} from "./network-file.ts";
import { installReference, missingReference, type ReferenceOptions } from "./reference.ts";

/** A message for administrators, as a Warning Event on the node. */
type TellNode = (reason: string, message: string) => void;

interface NodeFilesOptions {
  /** Undefined: no executables are installed. `reference`: folder of the reference plugins, if these shall be installed, too. */
  readonly executables:
    | (Omit<ExecutablesOptions, "manifest"> & { readonly reference?: string | undefined })
    | undefined;
  /** Undefined: the runtime's configuration stays untouched. */
  readonly network: NetworkFileOptions | undefined;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tell: TellNode;
}

/** Our files on the node outside our own directories: plugin executables and the runtime's network configuration. */
export class NodeFiles {
  readonly #options: NodeFilesOptions;
  readonly #manifest: Manifest;
  #said = "";

  constructor(options: NodeFilesOptions) {
    this.#options = options;
    this.#manifest = new Manifest(options.stateDir);
  }

  /** Installs all files, the runtime's configuration last, since that names the plugins. Throws if a folder can't be written. */
  install(): void {
    const { network, tell } = this.#options;
    this.#putExecutables();
    if (network === undefined) return;
    const found = this.#lookNetwork(network);
    this.#putNetwork(network);
    if (found.kind === "taken") tell("NetworkFileRestored", found.how);
  }

  /** Keeps the files in place until the signal aborts. */
  async keep({ signal }: Signal): Promise<void> {
    const { executables, network, clock, log, tell } = this.#options;
    const told = (reason: string) => ({ clock, log, tell: (sentence: string) => tell(reason, sentence) });
    await Promise.all([
      executables &&
        keep(
          {
            folder: executables.binDir,
            look: () => this.#lookExecutables(executables),
            put: () => this.#putExecutables(),
          },
          told("PluginRestored"),
          { signal },
        ),
      network &&
        keep(
          { folder: network.confDir, look: () => this.#lookNetwork(network), put: () => this.#putNetwork(network) },
          told("NetworkFileRestored"),
          { signal },
        ),
    ]);
  }

  #putExecutables(): void {
    const { executables } = this.#options;
    if (executables === undefined) return;
    installExecutables({ ...executables, manifest: this.#manifest });
    const reference = this.#reference();
    if (reference !== undefined) installReference(reference);
  }

  #reference(): ReferenceOptions | undefined {
    const { executables } = this.#options;
    if (executables?.reference === undefined) return undefined;
    const { reference: from, binDir, names } = executables;
    return { binDir, from, names, manifest: this.#manifest };
  }

  #lookExecutables(executables: Omit<ExecutablesOptions, "manifest">): Finding {
    const reference = this.#reference();
    const missing = reference === undefined ? [] : missingReference(reference);
    const wrong = [...wrongExecutables({ ...executables, manifest: this.#manifest }), ...missing];
    if (wrong.length === 0) return { kind: "right" };
    const how = `plugin executables in ${executables.binDir} were changed or removed by another program: ${wrong.join(", ")}`;
    return { kind: "taken", how };
  }

  #lookNetwork(options: NetworkFileOptions): Finding {
    const text = this.#wantedText(options);
    const path = join(options.confDir, networkFile);
    const actual = readRegularFile(path)?.toString("utf8");
    if (text === undefined || actual === text) return { kind: "right" };
    switch (this.#manifest.stateOf(path)) {
      case "ours":
        return { kind: "outdated" };
      case "unknown":
        if (actual === undefined) return { kind: "outdated" };
    }
    return { kind: "taken", how: `${path} is not as we wrote it: ${describeIntruder(options.confDir, actual)}` };
  }

  #putNetwork(options: NetworkFileOptions): void {
    const text = this.#wantedText(options);
    if (text === undefined) return;
    const path = join(options.confDir, networkFile);
    const content = Buffer.from(text);
    mkdirSync(options.confDir, { recursive: true, mode: 0o755 });
    removeTemporary(options.confDir, [networkFile]);
    this.#manifest.add(path, content);
    if (replaceFile(path, content, 0o600)) this.#options.log.info({ path }, "network configuration written");
  }

  /** What the file should contain, given the files beside it; reports problems once. */
  #wantedText(options: NetworkFileOptions): string | undefined {
    const { confDir } = options;
    const former = findFormer(confDir);
    const text = networkFileText(options, former.network);
    const before = filesBefore(confDir);
    const passed = former.passedOver.length === 0 ? "" : ` (passed over: ${former.passedOver.join("; ")})`;
    if (text === undefined) {
      const how = "set multus.multusCNI.defaultCniCRName, or install the cluster's own CNI: it is taken up at once";
      this.#say(
        "NoDefaultNetwork",
        `no network for Pods: none is configured, and ${confDir} has none${passed}; ${how}`,
      );
    } else if (before.length > 0) {
      this.#say(
        "NetworkFileShadowed",
        `the runtime uses ${before.join(", ")} instead of ${networkFile}: rename or remove it`,
      );
    } else this.#said = "";
    return text;
  }

  #say(reason: string, message: string): void {
    if (message === this.#said) return;
    this.#said = message;
    this.#options.tell(reason, message);
  }
}
