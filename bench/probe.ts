// Runs on another node of the lab: asks each address of the JSON array on stdin for an echo (ICMP) and for a TCP connection,
// and prints those that did not answer. Nothing listens in the Pods: a refused connection went there and back.
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

const patienceMs = 3_000;
const beside = 16;

const ips: readonly string[] = JSON.parse(await text(process.stdin));
const silent: string[] = [];
const left = [...ips];
await Promise.all(
  Array.from({ length: beside }, async () => {
    for (let ip = left.pop(); ip !== undefined; ip = left.pop()) {
      if (!(await echoes(ip)) || !(await refuses(ip))) silent.push(ip);
    }
  }),
);
console.log(JSON.stringify(silent));
process.exit(0);

function echoes(ip: string): Promise<boolean> {
  return new Promise((resolve) => {
    execFile("ping", ["-c", "1", "-W", String(patienceMs / 1000), ip], (error) => resolve(error === null));
  });
}

function refuses(ip: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port: 9, timeout: patienceMs });
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.on("connect", () => end(true));
    socket.on("timeout", () => end(false));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code === "ECONNREFUSED"));
  });
}
