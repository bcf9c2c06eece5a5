import type { Command } from "commander";
import { stringify } from "yaml";
import {
  apiGroup,
  apiVersion,
  defaultMultusConfig,
  formatViolation,
  networkAttachmentDefinitions,
  renderNetwork,
  type SpiderMultusConfig,
  validateMultusConfig,
  warnOfMultusConfig,
} from "#api";
import { SpiderError } from "#base";
import { apiVersionOf } from "#kube";
import { exitFailed, exitOk } from "../io.ts";
import { type Manifest, readManifests } from "../manifests.ts";
import type { OutputFormat } from "../output.ts";
import type { Context, Run } from "../run.ts";
import { violationsOfKind } from "../schema/kinds.ts";
import { addNetShowCommand } from "./show.ts";

/** `net render -f`: the NetworkAttachmentDefinition that the controller would make; needs no cluster. */
export function addNetCommands(program: Command, run: Run): void {
  const net = program.command("net").description("networks of Pods");
  addNetShowCommand(net, run);
  net
    .command("render")
    .description("print the NetworkAttachmentDefinitions for SpiderMultusConfigs, without sending anything")
    .requiredOption("-f, --filename <file>", "the manifests, YAML or JSON, a file or a folder; - is standard input")
    .action(({ filename }: { readonly filename: string }) => run((context) => render(filename, context)));
}

async function render(filename: string, context: Context): Promise<number> {
  const { io, output } = context;
  const configs = (await readManifests(io, filename)).filter(
    ({ manifest }) => manifest.apiVersion === `${apiGroup}/${apiVersion}` && manifest.kind === "SpiderMultusConfig",
  );
  if (configs.length === 0) throw new SpiderError("OPTIONS_INVALID", `${filename} has no SpiderMultusConfig`);
  let status: number = exitOk;
  for (const { manifest, placeOf } of configs) {
    const bySchema = violationsOfKind(manifest).map(({ field, message }) => [field, `${field}: ${message}`] as const);
    const config = bySchema.length > 0 ? undefined : complete(manifest, context.namespace ?? "default");
    const byRules = config === undefined ? [] : validateMultusConfig(config, { old: undefined, network: undefined });
    const wrong = [...bySchema, ...byRules.map((one) => [one.field, formatViolation(one)] as const)];
    for (const [field, text] of wrong) io.err(`${manifest.metadata.name}: ${text} (${placeOf(field)})\n`);
    if (wrong.length > 0) status = exitFailed;
    else if (config !== undefined) {
      for (const text of warnOfMultusConfig(config)) io.err(`Warning: ${config.metadata.name}: ${text}\n`);
      io.out(textOf(config, output));
    }
  }
  return status;
}

/** As the API server would store it, but for the UID, which it gives. */
function complete(manifest: Manifest, namespace: string): SpiderMultusConfig {
  const { name = "", ...metadata } = manifest.metadata ?? {};
  const config = defaultMultusConfig(manifest as Parameters<typeof defaultMultusConfig>[0]);
  return { ...config, metadata: { namespace, ...metadata, name, uid: "", resourceVersion: "" } } as SpiderMultusConfig;
}

function textOf(config: SpiderMultusConfig, output: OutputFormat): string {
  const { metadata, spec } = renderNetwork(config);
  // The owner's UID is known only when it is stored.
  const { ownerReferences: _, ...shown } = metadata;
  const { kind, group } = networkAttachmentDefinitions;
  if (output === "name") return `${kind.toLowerCase()}.${group}/${metadata.name}\n`;
  const network = { apiVersion: apiVersionOf(networkAttachmentDefinitions), kind, metadata: shown, spec };
  return output === "json" ? `${JSON.stringify(network, undefined, 2)}\n` : `---\n${stringify(network)}`;
}
