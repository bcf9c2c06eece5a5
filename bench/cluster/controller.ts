import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { cpuMsOf, statusMb } from "../processes.ts";

/** The controller as a process of its own. */
interface RunningController extends AsyncDisposable {
  /** The time from its start until it was ready. */
  readonly readySeconds: number;
  /** CPU time, in seconds, and resident memory, in MB, now and at most. */
  usage(): { readonly cpuSeconds: number; readonly rssMb: number; readonly peakRssMb: number };
}

/** Starts the controller's bundle for the cluster of this kubeconfig; resolves when it is ready. Throws Error if it ends. */
export async function startController(bundle: string, kubeconfig: string): Promise<RunningController> {
  const health = 20_000 + (process.pid % 10_000);
  const ports = ["--health-port", String(health), "--webhook-port", String(health + 1)];
  const startMs = performance.now();
  const child = spawn(
    process.execPath,
    [bundle, "daemon", "--kubeconfig", kubeconfig, "--bind-address", "127.0.0.1", ...ports],
    {
      env: {
        SPIDERPOOL_POD_NAME: "controller",
        SPIDERPOOL_POD_NAMESPACE: "kube-system",
        SPIDERPOOL_LOG_LEVEL: "error",
      },
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  const exited = once(child, "exit");
  const end = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  while (!(await isReady(health))) {
    if (child.exitCode !== null) throw new Error(`the controller ended with ${child.exitCode}`);
    await delay(100);
  }
  return {
    readySeconds: (performance.now() - startMs) / 1_000,
    usage: () => usageOf(child.pid ?? 0),
    [Symbol.asyncDispose]: end,
  };
}

function usageOf(pid: number): ReturnType<RunningController["usage"]> {
  return { cpuSeconds: cpuMsOf(pid) / 1_000, rssMb: statusMb(pid, "VmRSS"), peakRssMb: statusMb(pid, "VmHWM") };
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/runtime/readiness`)).ok;
  } catch {
    return false;
  }
}
