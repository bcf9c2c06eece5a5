import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type LabHandle, launchLab } from "../../lab/launch.ts";
import { buildBundles } from "../../scripts/common/build.ts";
import { render } from "../../test/chart/render.ts";
import { launchCluster } from "../../test/cluster/launch.ts";

const crdFolder = fileURLToPath(new URL("../../charts/spiderpool/crds", import.meta.url));

/** Which API server is measured: the lab's, or kube-apiserver with etcd. */
export type ServerKind = "lab" | "real";

/** What every script beside an API server gets on its stdin, beside its plan. */
export interface Surroundings {
  readonly server: ServerKind;
  /** Path of the controller's bundle. */
  readonly controller: string;
  /** Where the script may keep files, in memory as an agent's `/run`: it goes with the namespaces. */
  readonly folder: string;
}

/**
 * Starts an API server with our kinds, and nothing else, in namespaces of its own, runs the script beside it with `plan` and
 * {@link Surroundings} on its stdin, and answers the JSON that it prints.
 */
export async function runBeside<Plan extends object, Outcome>(
  server: ServerKind,
  script: "fill" | "publication" | "claims" | "creates",
  plan: Plan,
): Promise<Outcome> {
  const { controller, lab: program } = await buildBundles();
  await using lab = server === "lab" ? await launchLabServer(program) : await launchRealServer();
  const surroundings: Surroundings = { server, controller, folder: "/run/bench" };
  await lab.run({ argv: ["mkdir", surroundings.folder] });
  const path = fileURLToPath(new URL(`${script}.ts`, import.meta.url));
  const input = JSON.stringify({ ...surroundings, ...plan });
  return JSON.parse(await lab.run({ argv: [process.execPath, path], input })) as Outcome;
}

function launchLabServer(program: string): Promise<LabHandle> {
  const crds = globSync("*.yaml", { cwd: crdFolder }).map((file) => readFileSync(`${crdFolder}/${file}`, "utf8"));
  return launchLab({ nodes: 0, program, crds });
}

/** The parts of the chart that concern the API server: it checks each call by the rights and policies, and queues it. */
const served = ["ValidatingAdmissionPolicy", "ClusterRole", "FlowSchema", "PriorityLevelConfiguration"];

async function launchRealServer(): Promise<LabHandle> {
  const { objects } = await render();
  const rules = objects.filter(({ kind }) => served.some((one) => kind === one || kind === `${one}Binding`));
  const manifests = [crdFolder, JSON.stringify({ apiVersion: "v1", kind: "List", items: rules })];
  return launchCluster({ nodes: 0, controllers: false, manifests, say: console.log });
}
