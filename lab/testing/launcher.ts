// Started by lab.test.ts, which kills it: launches a lab, says where it is, and waits.
import { launchLab } from "../launch.ts";

const lab = await launchLab({ nodes: 1 });
process.stdout.write(`${JSON.stringify({ pid: lab.pid, directory: lab.directory, url: lab.url })}\n`);
await lab.exited;
