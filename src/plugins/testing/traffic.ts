import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

/** Several segments, so that segmentation offload takes part. */
export const tcpBytes = 100_000;

/** Runs a program in the namespace at `netns`. Returns what it printed; throws where it fails. */
export function inside(netns: string, ...argv: readonly [string, ...string[]]): string {
  return execFileSync("nsenter", [`--net=${netns}`, ...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Throws where `address` does not answer a ping from the namespace at `netns` within two seconds. */
export function ping(netns: string, address: string): void {
  inside(netns, "ping", "-c", "1", "-W", "2", address);
}

/** How many of `tcpBytes` that a server in one namespace sends from `address` reach a client in the other. */
export async function bytesOverTcp(server: string, client: string, address: string): Promise<number> {
  const listen = `require("net").createServer((s) => s.end(Buffer.alloc(${tcpBytes})))
    .listen(80, () => console.log("listening"))`;
  const connect = `let n = 0; require("net").connect(80, "${address}").setTimeout(5000, () => process.exit(1))
    .on("data", (d) => { n += d.length; }).on("end", () => console.log(n))`;
  const argv = ["--pdeathsig", "KILL", "nsenter", `--net=${server}`, process.execPath, "-e", listen];
  const listening = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(listening, "exit");
  try {
    await once(listening.stdout, "data");
    return Number(inside(client, process.execPath, "-e", connect));
  } finally {
    listening.kill();
    await exited;
  }
}
