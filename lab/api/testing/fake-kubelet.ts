import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import type { KubeletAddress } from "../http/kubelet.ts";

/** A kubelet that has no containers: logs tell the path asked for, exec echoes stdin and ends with the status asked for. */
export interface FakeKubelet extends AsyncDisposable {
  readonly address: KubeletAddress;
}

const channel = { stdin: 0, stdout: 1, status: 3, close: 255 } as const;

/** Exec runs `["echo", word]` (prints it), `["cat"]` (stdin to stdout), `["false"]` (status 1). */
export async function startFakeKubelet(): Promise<FakeKubelet> {
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.end(`log of ${request.url ?? ""}\n`);
  });
  const sockets = new WebSocketServer({ server, handleProtocols: () => "v5.channel.k8s.io" });
  sockets.on("connection", (socket, request) => {
    const command = new URL(request.url ?? "/", "http://kubelet").searchParams.getAll("command");
    const send = (to: number, text: string) => socket.send(Buffer.concat([Buffer.of(to), Buffer.from(text)]));
    const exit = (status: object) => {
      send(channel.status, JSON.stringify(status));
      socket.close(1000);
    };
    const success = { status: "Success" };
    if (command[0] === "echo") {
      send(channel.stdout, `${command[1] ?? ""}\n`);
      exit(success);
    } else if (command[0] === "cat") {
      socket.on("message", (data: Buffer) => {
        if (data[0] === channel.stdin) send(channel.stdout, data.subarray(1).toString());
        else if (data[0] === channel.close && data[1] === channel.stdin) exit(success);
      });
    } else {
      const causes = [{ reason: "ExitCode", message: "1" }];
      exit({ status: "Failure", reason: "NonZeroExitCode", message: "exit code 1", details: { causes } });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("not listening on TCP");
  return {
    address: { host: "127.0.0.1", port: address.port },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      for (const socket of sockets.clients) socket.terminate();
      sockets.close();
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
