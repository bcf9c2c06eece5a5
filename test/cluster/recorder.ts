import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Agent, request } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** One call of a program to the API server. */
interface Recorded {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  /** The server's `Warning` headers. */
  readonly warning: string;
  readonly request: string;
  /** Of a refusal only. */
  readonly answer: string;
}

/** A proxy of plain HTTP between a program and the API server, with the rights of one kubeconfig. It records the calls. */
export async function startRecorder(
  kubeconfig: string,
  host: string,
): Promise<{ readonly url: string; readonly calls: readonly Recorded[] }> {
  const config = JSON.parse(readFileSync(kubeconfig, "utf8"));
  const { server: upstream, "certificate-authority-data": ca } = config.clusters[0].cluster;
  const { "client-certificate-data": cert, "client-key-data": key } = config.users[0].user;
  const decoded = (base64: string) => Buffer.from(base64, "base64");
  const agent = new Agent({ ca: decoded(ca), cert: decoded(cert), key: decoded(key), keepAlive: true });
  const calls: Recorded[] = [];
  const server = createServer(async (asked, answered) => {
    const { method = "", url = "", headers } = asked;
    const body = await text(asked);
    const { host: _host, connection: _connection, ...kept } = headers;
    const sent = request(new URL(url, upstream), { method, headers: kept, agent }, (answer) => {
      answered.writeHead(answer.statusCode ?? 502, answer.headers);
      answered.flushHeaders();
      const keep = (words: string) =>
        calls.push({
          method,
          url,
          status: answer.statusCode ?? 0,
          warning: String(answer.headers["warning"] ?? ""),
          request: body,
          answer: words,
        });
      if ((answer.statusCode ?? 0) >= 300)
        void text(answer).then(
          (words) => {
            keep(words);
            answered.end(words);
          },
          () => answered.destroy(),
        );
      else {
        keep("");
        answer.pipe(answered);
      }
    });
    sent.on("error", () => answered.destroy());
    answered.on("close", () => sent.destroy());
    sent.end(body);
  }).listen(0, host);
  await once(server, "listening");
  return { url: `http://${host}:${(server.address() as AddressInfo).port}`, calls };
}
