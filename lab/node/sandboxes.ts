import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Pod } from "../controllers/index.ts";
import { run } from "../topology/index.ts";
import type { CniRuntime, Sandbox, SandboxResult } from "./runtime.ts";

/** A sandbox with its network. */
export interface Network extends SandboxResult {
  readonly sandbox: Sandbox;
}

/**
 * The sandboxes of one node, each with a record on the node's disk from before its ADD until after its DEL: after a power
 * loss a node calls DEL for its former sandboxes, as containerd does.
 */
export class Sandboxes {
  readonly #runtime: CniRuntime;
  readonly #recordDir: string;

  constructor(runtime: CniRuntime, recordDir = "/var/lib/kubelet/sandboxes") {
    this.#runtime = runtime;
    this.#recordDir = recordDir;
  }

  /** Creates a sandbox with a new container ID and namespace. After a failure, removes it again before this throws. */
  async create({ metadata, spec }: Pod): Promise<Network> {
    const sandbox: Sandbox = {
      containerId: randomBytes(32).toString("hex"),
      netns: `/var/run/netns/cni-${randomUUID()}`,
      pod: { namespace: metadata.namespace ?? "default", name: metadata.name, uid: metadata.uid },
      capabilityArgs: {
        portMappings: spec.containers
          .flatMap(({ ports = [] }) => ports)
          .filter(({ hostPort }) => hostPort !== undefined),
        "io.kubernetes.cri.pod-annotations": metadata.annotations ?? {},
      },
    };
    await mkdir(this.#recordDir, { recursive: true });
    await writeFile(this.#record(sandbox), JSON.stringify(sandbox));
    const name = basename(sandbox.netns);
    try {
      await run(["ip", "netns", "add", name]);
      await run(["ip", "-netns", name, "link", "set", "lo", "up"]);
      return { sandbox, ...(await this.#runtime.add(sandbox)) };
    } catch (error) {
      await this.remove(sandbox).catch(() => {}); // Retried at the Pod's end; ADD's own failure matters more.
      throw error;
    }
  }

  /** DEL, then the namespace, then the record. Throws LAB_CNI when DEL failed: everything is still there to try again. */
  async remove(sandbox: Sandbox): Promise<void> {
    await this.#runtime.del(sandbox);
    await run(["ip", "netns", "delete", basename(sandbox.netns)]).catch(() => {}); // Gone already, or never created.
    await rm(this.#record(sandbox), { force: true });
  }

  /** The recorded sandboxes of a Pod, or of all Pods. */
  async recorded(podUid?: string): Promise<readonly Sandbox[]> {
    const files = await readdir(this.#recordDir).catch(() => []);
    // Another Pod's record may go meanwhile.
    const texts = await Promise.all(files.map((file) => readFile(join(this.#recordDir, file), "utf8").catch(() => "")));
    const sandboxes = texts.filter((text) => text !== "").map((text) => JSON.parse(text) as Sandbox);
    return sandboxes.filter(({ pod }) => podUid === undefined || pod.uid === podUid);
  }

  #record({ containerId }: Sandbox): string {
    return join(this.#recordDir, `${containerId}.json`);
  }
}
