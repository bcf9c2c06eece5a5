import type { Command } from "commander";
import type { NicPath } from "#doctor";
import { agentSocket, askAgent } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { formatItems, refuseName } from "../output.ts";
import { podKey } from "../pod-name.ts";
import type { Context, Run } from "../run.ts";

/** `net show POD`: every NIC of a Pod as it is on its node now. */
export function addNetShowCommand(net: Command, run: Run): void {
  net
    .command("show")
    .description(
      "show the present state of every NIC of a Pod on this node; asks the node's agent, needs no API server",
    )
    .argument("<pod>", "[namespace/]name")
    .option("--draw", "draw the way of a packet from the Pod to its gateway")
    .option("--socket <path>", "the agent's socket", agentSocket)
    .action((pod: string, flags: { readonly draw?: boolean; readonly socket: string }) =>
      run((context) => show(pod, flags, context)),
    );
}

async function show(
  pod: string,
  { draw = false, socket }: { readonly draw?: boolean; readonly socket: string },
  context: Context,
): Promise<number> {
  const { io, output } = context;
  refuseName(output);
  const key = podKey(pod, context);
  const nics = (await askAgent(socket, `/v1/net?pod=${encodeURIComponent(key)}`, io)) as readonly NicPath[];
  io.out(formatItems(nics, output) ?? nics.map((nic) => (draw ? drawn(nic) : listed(nic))).join("\n"));
  if (nics.length === 0) {
    io.err(
      `The agent of this node has no running sandbox of Pod ${key}: see on which node it is (kubectl get pod -o wide), `,
    );
    io.err(`and whether its ADD failed (spiderpoolctl trace ${key}).\n`);
  }
  return nics.length > 0 && nics.every(({ hops }) => hops.every(({ ok }) => ok !== false)) ? exitOk : exitFailed;
}

function drawn({ ifName, network, hops }: NicPath): string {
  const lines = hops.flatMap(({ name, ok, detail, aside }, at) => {
    const station = `${markOf(ok, ["✔", "✘", "?"])} ${name}  ${detail}`;
    if (aside === true) return [`  ├─ ${station}`];
    return [...(at === 0 ? [] : ["  │"]), `  ${station}`];
  });
  return `${ifName} (${network})\n${lines.join("\n")}\n`;
}

function markOf(ok: boolean | undefined, [works, fails, unknown]: readonly [string, string, string]): string {
  if (ok === undefined) return unknown;
  return ok ? works : fails;
}

function listed(nic: NicPath): string {
  const { ifName, network, addresses, hops, routes, rules } = nic;
  const lines = [
    `${ifName} (${network})`,
    ...addresses.map(
      ({ address, pool, gateway }) =>
        `  address ${address}${pool === "" ? "" : ` of ${pool}`}${gateway === undefined ? "" : `, gateway ${gateway}`}`,
    ),
    ...hops.map(({ name, ok, detail }) => `  ${markOf(ok, ["ok ", "BAD", "?  "])} ${name}: ${detail}`),
    ...routes.map((one) => `  route ${one}`),
    ...rules.map((one) => `  rule ${one}`),
  ];
  return `${lines.join("\n")}\n`;
}
