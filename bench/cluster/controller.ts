import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** The controller as a process of its own. */
export interface RunningController extends AsyncDisposable {
  /** From its start until it said that it is ready. */
  readonly readySeconds: number;
  /** CPU time, in seconds, and resident memory, in MB, now and at most. */
  usage(): { readonly cpuSeconds: number; readonly rssMb: number; readonly peakRssMb: number };
}

/** Starts the bundle of the controller with the cluster of this kubeconfig; resolves when it is ready. Throws Error where it ends. */
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
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const megabytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1_024;
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / 100;
  return { cpuSeconds, rssMb: megabytes("VmRSS"), peakRssMb: megabytes("VmHWM") };
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/runtime/readiness`)).ok;
  } catch {
    return false;
  }
}
