/**
 * The lab's one program, in two roles, chosen by its first argument: the supervisor of a whole lab, started by
 * `launchLab` in namespaces of its own, and the stand-in for a kubelet, started by the supervisor on each node.
 */
import { createLogger } from "#base";
import { createLabClient } from "./api/index.ts";
import { startKubelet } from "./node/index.ts";
import { type LabSpec, marker } from "./protocol.ts";
import { supervise } from "./supervise.ts";
import { apiUrl, createLab } from "./supervisor.ts";

const [, program = "", role, argument = ""] = process.argv;
if (role === marker) {
  supervise<LabSpec>(({ spec }, phase) =>
    createLab(spec, {
      log: createLogger({ level: "info", name: marker }),
      phase,
      kubelet: [process.execPath, program, "kubelet"],
    }),
  );
} else if (role === "kubelet") await kubelet(JSON.parse(argument) as { nodeName: string; managementIp: string });
else {
  process.stderr.write(`usage: started by the lab's launcher\n`);
  process.exitCode = 2;
}

async function kubelet({ nodeName, managementIp }: { nodeName: string; managementIp: string }): Promise<void> {
  const log = createLogger({ level: "info", name: "kubelet" });
  await startKubelet({ client: createLabClient({ baseUrl: apiUrl }), nodeName, managementIp, log });
}
