/**
 * The lab's one program, in two roles, told apart by its first argument: the supervisor of a whole lab, started by
 * `launchLab` in namespaces of its own, and the stand-in for a kubelet, started by the supervisor on each node.
 */
import { createLogger, formatError } from "#base";
import { createLabClient } from "./api/index.ts";
import { startKubelet } from "./node/index.ts";
import { type CommandName, type FromSupervisor, type LabCommands, marker, type ToSupervisor } from "./protocol.ts";
import { apiUrl, createLab } from "./supervisor.ts";

const [, program = "", role, argument = ""] = process.argv;
if (role === marker) supervise();
else if (role === "kubelet") await kubelet(JSON.parse(argument) as { nodeName: string; managementIp: string });
else {
  process.stderr.write(`usage: started by the lab's launcher\n`);
  process.exitCode = 2;
}

function supervise(): void {
  process.on("disconnect", () => process.exit(0)); // the launcher is gone, and with this process everything else
  let lab: LabCommands | undefined;
  process.on("message", (message: ToSupervisor) => {
    switch (message.kind) {
      case "start":
        createLab(message.spec, {
          log: createLogger({ level: "info", name: marker }),
          phase: (phase) => tell({ kind: "phase", phase, atMs: performance.now() }),
          kubelet: [process.execPath, program, "kubelet"],
        }).then(
          (created) => {
            lab = created;
            tell({ kind: "ready" });
          },
          (error: unknown) => tell({ kind: "failed", error: formatError(error) }),
        );
        return;
      case "command":
        answer(lab, message.name, message.request).then(
          (result) => tell({ kind: "answer", id: message.id, result }),
          (error: unknown) => tell({ kind: "answer", id: message.id, error: formatError(error) }),
        );
    }
  });
}

async function answer(lab: LabCommands | undefined, name: CommandName, request: unknown): Promise<unknown> {
  if (lab === undefined) throw new Error("the lab is not ready");
  return await lab[name](request as never);
}

function tell(message: FromSupervisor): void {
  process.send?.(message);
}

async function kubelet({ nodeName, managementIp }: { nodeName: string; managementIp: string }): Promise<void> {
  const log = createLogger({ level: "info", name: "kubelet" });
  await startKubelet({ client: createLabClient({ baseUrl: apiUrl }), nodeName, managementIp, log });
}
