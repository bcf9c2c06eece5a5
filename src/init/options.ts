import { parseArgs } from "node:util";
import { Environment, SpiderError } from "#base";
import type { ObjectRef } from "#kube";

/** The validated command line: what to do, and with which files ({@link readOptions}). */
export type InitOptions = { readonly kubeconfig: string | undefined } & (
  | {
      readonly command: "install";
      /** The install namespace. */
      readonly namespace: string;
      /** File with the wanted objects, YAML. */
      readonly objects: string;
      /** Directory of the node's CNI configurations; undefined: the default network is among the objects. */
      readonly cniConfDir: string | undefined;
    }
  | {
      readonly command: "crds";
      readonly crds: string;
      /** The DaemonSet of the agents that ran until now; undefined: they certainly kept the ledger. */
      readonly agents: ObjectRef | undefined;
    }
  | {
      readonly command: "clean";
      readonly namespace: string;
      readonly release: string;
      /** Name of the controller's Deployment and of both webhook configurations. */
      readonly controller: string;
      /** Name of the agents' DaemonSet. */
      readonly agents: string;
      /** Names of the Jobs to delete. */
      readonly jobs: readonly string[];
      /** The Job that runs this command; kubectl must not have applied it. */
      readonly hookJob: string | undefined;
      readonly force: boolean;
      readonly yes: boolean;
    }
);

/** What each command is told. */
export type InstallOptions = Extract<InitOptions, { readonly command: "install" }>;
export type PrepareOptions = Extract<InitOptions, { readonly command: "crds" }>;
export type CleanOptions = Extract<InitOptions, { readonly command: "clean" }>;

const help = `spiderpool-init: the steps of a release's life that are done once.

Usage: spiderpool-init install --objects FILE [--cni-conf-dir DIR]
         creates the objects of FILE that do not exist, and reports how existing ones differ; with a directory of CNI
         configurations, also creates an empty network named like the one that the node uses
       spiderpool-init crds --crds DIR [--agents DAEMONSET]
         creates and extends our kinds; if there was no ledger, or the present agents are not this chart's, closes existing
         pools until the controller has taken over the addresses that Pods have
       spiderpool-init clean --release NAME --controller NAME --agents DAEMONSET [--job NAME]… [--hook-job NAME] [--force] [--yes]
         deletes webhook configurations, the objects of our kinds, the kinds, the Jobs and what agents wrote on Nodes; refuses
         unless Helm removes the release (--yes overrides this), and while Pods have addresses (--force overrides this)

  --kubeconfig FILE    instead of the Pod's service account; also $KUBECONFIG
  --help

Environment: SPIDERPOOL_POD_NAMESPACE (required by install, clean and --agents).
Exits with 3 if a retry cannot help.
`;

const text = { type: "string" } as const;
const flag = { type: "boolean", default: false } as const;

/** Reads flags and environment; returns the help text if it was asked for. Throws OPTIONS_INVALID naming every mistake. */
export function readOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): InitOptions | { readonly print: string } {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      kubeconfig: text,
      objects: text,
      "cni-conf-dir": text,
      crds: text,
      release: text,
      controller: text,
      "hook-job": text,
      job: { type: "string", multiple: true },
      force: flag,
      yes: flag,
      agents: text,
      help: flag,
    },
  });
  if (values.help) return { print: help };
  const environment = new Environment(env);
  const { wrong } = environment;
  const needed = (name: string, value: string | undefined) => {
    if (value === undefined || value === "") wrong.push(`${name} is not set`);
    return value ?? "";
  };
  const namespace = () => environment.needed("SPIDERPOOL_POD_NAMESPACE");
  const kubeconfig = values.kubeconfig ?? env["KUBECONFIG"];
  const options = ((): InitOptions => {
    switch (positionals[0]) {
      case "install": {
        const objects = needed("--objects", values.objects);
        return { command: "install", kubeconfig, namespace: namespace(), objects, cniConfDir: values["cni-conf-dir"] };
      }
      case "crds": {
        const { agents: name } = values;
        const agents = name === undefined ? undefined : { namespace: namespace(), name: needed("--agents", name) };
        return { command: "crds", kubeconfig, crds: needed("--crds", values.crds), agents };
      }
      case "clean": {
        const release = needed("--release", values.release);
        const controller = needed("--controller", values.controller);
        const agents = needed("--agents", values.agents);
        const { force, yes, job: jobs = [], "hook-job": hookJob } = values;
        return {
          command: "clean",
          kubeconfig,
          namespace: namespace(),
          release,
          controller,
          agents,
          jobs,
          hookJob,
          force,
          yes,
        };
      }
      default: {
        const [found = ""] = positionals;
        throw new SpiderError(
          "OPTIONS_INVALID",
          `cannot start: the command is ${JSON.stringify(found)}, allowed are install, crds, clean`,
        );
      }
    }
  })();
  environment.check();
  return options;
}
