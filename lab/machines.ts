import { rmSync, writeFileSync } from "node:fs";
import { SpiderError } from "#base";
import type { Program } from "./program.ts";
import { type LabCommands, nodePidDirectory } from "./protocol.ts";
import { createBridges, type LabNode, type NodePlan, run } from "./topology/index.ts";

/** A node that is switched on, with the programs that are kept running on it, by name. */
export interface Machine {
  readonly node: LabNode;
  readonly programs: Map<string, Program>;
}

interface MachinesOptions {
  /** The nodes that there are; all are switched off at first. */
  readonly plans: readonly NodePlan[];
  /** What runs beside the nodes, by name. */
  readonly programs: ReadonlyMap<string, Program>;
  /** Starts a node's kernel. */
  readonly start: (plan: NodePlan) => Promise<LabNode>;
  /** Starts what runs on a node, and adds its programs. The node can be used by then. */
  readonly setUp: (machine: Machine) => Promise<void>;
  /** Called with the node's name when every process of it has ended. */
  readonly poweredOff?: (name: string) => Promise<void>;
}

/** Nodes and programs by their names: what a lab and a real cluster have in common. Throws LAB_NO_NODE, LAB_NO_PROGRAM. */
export class Machines implements LabCommands {
  readonly #options: MachinesOptions;
  readonly #machines = new Map<string, Machine>();

  constructor(options: MachinesOptions) {
    this.#options = options;
  }

  async powerOn({ node: name }: { readonly node: string }): Promise<void> {
    const { plans, start, setUp } = this.#options;
    const plan = plans.find((one) => one.name === name);
    if (plan === undefined || this.#machines.has(name))
      throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched off`);
    const machine = { node: await start(plan), programs: new Map<string, Program>() };
    this.#machines.set(name, machine);
    writeFileSync(`${nodePidDirectory}/${name}`, String(machine.node.pid));
    await setUp(machine);
  }

  async powerOff({ node: name }: { readonly node: string }): Promise<void> {
    const { node, programs } = this.#machine(name);
    this.#machines.delete(name);
    rmSync(`${nodePidDirectory}/${name}`, { force: true });
    for (const program of programs.values()) program.abandon();
    await node.powerOff();
    await this.#options.poweredOff?.(name);
  }

  async run(request: { readonly node?: string; readonly argv: readonly string[]; readonly input?: string }) {
    const { node, argv, input = "" } = request;
    return node === undefined ? await run(argv, { input }) : await this.#machine(node).node.run(argv, { input });
  }

  async createBridges({ node }: { readonly node: string }): Promise<readonly string[]> {
    return await createBridges(this.#machine(node).node);
  }

  async kill(request: { readonly node?: string; readonly program: string; readonly signal: NodeJS.Signals }) {
    this.#program(request.node, request.program).signal(request.signal);
  }

  async hold(request: { readonly node?: string; readonly program: string; readonly held: boolean }) {
    await this.#program(request.node, request.program).hold(request.held);
  }

  #machine(name: string): Machine {
    const machine = this.#machines.get(name);
    if (machine === undefined) throw new SpiderError("LAB_NO_NODE", `there is no node ${name} that is switched on`);
    return machine;
  }

  #program(node: string | undefined, name: string): Program {
    const programs = node === undefined ? this.#options.programs : this.#machine(node).programs;
    const program = programs.get(name);
    if (program !== undefined) return program;
    const known = [...programs.keys()].join(", ") || "nothing";
    throw new SpiderError("LAB_NO_PROGRAM", `${node ?? "the lab itself"} runs no ${name}; it runs ${known}`);
  }
}
