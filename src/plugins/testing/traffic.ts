import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { openNetns } from "#linux";

/** Several segments, so that segmentation offload takes part. */
export const tcpBytes = 100_000;

/** Runs a program in the namespace at `netns`. Returns what it printed; throws if it fails. */
export function inside(netns: string, ...argv: readonly [string, ...string[]]): string {
  return execFileSync("nsenter", [`--net=${netns}`, ...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/**
 * Throws if `address` does not answer a ping from the namespace at `netns` within a minute: the kernel drops what is
 * sent by a link that has only just come up.
 */
export function ping(netns: string, address: string): void {
  inside(netns, "ping", "-c", "1", "-i", "0.2", "-w", "60", address);
}

/** How many of the `tcpBytes` that a server in one namespace sends from `address` reach a client in the other. */
export async function bytesOverTcp(server: string, client: string, address: string): Promise<number> {
  const listening = createServer((socket) => socket.on("error", () => {}).end(Buffer.alloc(tcpBytes)));
  using netns = openNetns(server);
  // Without a host to look up, the socket is made before listen() returns.
  netns.enter(() => void listening.listen(80));
  try {
    if (!listening.listening) await once(listening, "listening");
    const receiving = promisify(execFile)("nsenter", [`--net=${client}`, "busybox", "nc", "-w", "60", address, "80"], {
      encoding: "buffer",
    });
    receiving.child.stdin?.end();
    return (await receiving).stdout.length;
  } finally {
    const closed = once(listening, "close");
    listening.close();
    await closed;
  }
}
