import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, uptime } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** vswitchd adds to its counters once a second. */
const coverageMs = 1_200;
const schema = "/usr/share/openvswitch/vswitch.ovsschema";

/** A real ovsdb-server and a real ovs-vswitchd with database, sockets and logs of their own. */
export interface OpenVswitch extends AsyncDisposable {
  /** The database's endpoint, for `createOvs`. */
  readonly endpoint: string;
  /** Runs ovs-vsctl and returns what it prints, without the last line's end. By default it waits for vswitchd. */
  vsctl(...args: readonly string[]): string;
  /** How often vswitchd has gone through all of its ports so far, once it has come to rest. */
  reconfigures(): Promise<number>;
  /** Name of the port behind which a bridge has last seen a MAC address; undefined: behind none. */
  portOf(bridge: string, mac: string): string | undefined;
  /** Adds a bridge with a datapath in user space, which needs no kernel module but /dev/net/tun. */
  addBridge(name: string): void;
  stopDatabase(): Promise<void>;
  startDatabase(): void;
  stopSwitch(): Promise<void>;
  startSwitch(): void;
}

/**
 * Starts both in the network namespace of the calling process: call it from an isolated test file only, because bridges
 * become devices of that namespace.
 */
export function startOpenVswitch(): OpenVswitch {
  const folder = mkdtempSync(join(tmpdir(), "ovs-"));
  const file = (name: string) => join(folder, name);
  const endpoint = `unix:${file("db.sock")}`;
  const env = { ...process.env, OVS_RUNDIR: folder, OVS_LOGDIR: folder, OVS_DBDIR: folder, OVS_SYSCONFDIR: folder };
  execFileSync("ovsdb-tool", ["create", file("conf.db"), schema], { env });

  const vsctl = (...args: readonly string[]) =>
    execFileSync("ovs-vsctl", [`--db=${endpoint}`, "--timeout=20", ...args], {
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trimEnd();
  const appctl = (...args: readonly string[]) =>
    execFileSync("ovs-appctl", ["-t", file("ovs-vswitchd.ctl"), ...args], { env, encoding: "utf8" });
  const readReconfigures = () => Number(appctl("coverage/read-counter", "bridge_reconfigure"));
  const start = (name: string, ...args: readonly string[]) =>
    spawn("setpriv", ["--pdeathsig", "KILL", name, `--unixctl=${file(`${name}.ctl`)}`, "-vconsole:off", ...args], {
      env,
      stdio: "ignore",
    });
  const startServer = () => {
    const child = start("ovsdb-server", `--remote=p${endpoint}`, file("conf.db"));
    untilItWorks(() => vsctl("--no-wait", "init"));
    return child;
  };
  const startDaemon = () => start("ovs-vswitchd", endpoint);

  let server = startServer();
  let daemon = startDaemon();
  return {
    endpoint,
    vsctl,
    reconfigures: async () => {
      let count = readReconfigures();
      for (;;) {
        await delay(coverageMs);
        const now = readReconfigures();
        if (now === count) return count;
        count = now;
      }
    },
    portOf: (bridge, mac) => {
      const learnt = appctl("fdb/show", bridge)
        .split("\n")
        .find((line) => line.includes(mac));
      const [ofport] = learnt?.trim().split(/\s+/) ?? [];
      return ofport && vsctl("--bare", "--columns=name", "find", "interface", `ofport=${ofport}`);
    },
    addBridge: (name) => void vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"),
    stopDatabase: () => stop(server),
    startDatabase: () => {
      server = startServer();
    },
    stopSwitch: () => stop(daemon),
    startSwitch: () => {
      daemon = startDaemon();
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([stop(daemon), stop(server)]);
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * Waits, in a kernel that has just booted, until a switch with a datapath in the kernel can start. ovs-vswitchd counts the
 * cores at most every 10 s, by a clock that begins with the boot: before, it finds none, starts no thread for what that
 * datapath does not know, and such packets are lost.
 */
export async function untilCoresAreCounted(): Promise<void> {
  await delay(Math.max(0, 11 - uptime()) * 1_000);
}

/** ovs-vsctl fails at once while the socket is not there, and its own --retry waits for a whole second. */
function untilItWorks(act: () => void): void {
  for (let left = 300; ; left--) {
    try {
      act();
      return;
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}
