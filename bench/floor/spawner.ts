// A thread that executes a program many times at once, as a runtime does in a burst, and reports each end. A runtime is a process
// of its own; so this is a thread of its own, and the work after an end does not wait for other starts.
import { parentPort, workerData } from "node:worker_threads";
import { executeBeside } from "../spawn.ts";

const { program, folder }: { readonly program: string; readonly folder: string } = workerData;
parentPort?.on("message", ({ count, input }: { readonly count: number; readonly input: string }) => {
  for (let at = 0; at < count; at++) {
    void executeBeside(program, input, {}, folder).then(() => parentPort?.postMessage(at));
  }
});
