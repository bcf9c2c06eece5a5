import { request as httpRequest, type IncomingMessage, STATUS_CODES } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { ApiFailure, badRequest } from "../failure.ts";
import { type ApiResponse, at, type KubeObject, listAt, textAt } from "../types.ts";

/** How the API server reaches a node's kubelet for logs and exec. */
export interface KubeletAddress {
  readonly host: string;
  readonly port: number;
}

/** One call to a kubelet. */
export interface KubeletCall {
  readonly address: KubeletAddress;
  /** With query. */
  readonly path: string;
}

const kubeletPort = 10250;

/** Port 10250 of the Node's InternalIP. */
export function addressOfNode(node: KubeObject | undefined): KubeletAddress | undefined {
  const internal = listAt(node, "status", "addresses").find((address) => at(address, "type") === "InternalIP");
  const host = textAt(internal, "address");
  return host === "" ? undefined : { host, port: kubeletPort };
}

/**
 * The kubelet's path for a container's `containerLogs` or `exec`: `/exec/NAMESPACE/POD/CONTAINER?…`, with the client's query
 * except `container`. Throws a 400 if the Pod has no node or the container is ambiguous.
 */
export function kubeletPath(verb: "containerLogs" | "exec", pod: KubeObject, query: URLSearchParams): string {
  const { name, namespace } = pod.metadata;
  if (textAt(pod, "spec", "nodeName") === "") throw badRequest(`pod ${name} does not have a host assigned`);
  const names = ["containers", "initContainers"].map((field) =>
    listAt(pod, "spec", field).map((container) => textAt(container, "name")),
  );
  const main = names[0] ?? [];
  const preferred = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"];
  const container = query.get("container") ?? preferred ?? (main.length === 1 ? main[0] : undefined);
  if (container === undefined) {
    throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${main.join(" ")}]`);
  }
  if (!names.flat().includes(container)) throw badRequest(`container ${container} is not valid for pod ${name}`);
  const rest = new URLSearchParams(query);
  rest.delete("container");
  return `/${verb}/${namespace}/${name}/${container}?${rest}`;
}

/** Fetches a log as a stream. Throws a 500 if the kubelet cannot be reached. */
export async function proxyLog(call: KubeletCall, signal: AbortSignal): Promise<ApiResponse> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({ ...call.address, path: call.path, signal }, resolve);
    request.on("error", (error) => reject(unreachable(error)));
    request.end();
  });
  const type = response.headers["content-type"] ?? "text/plain";
  return { status: response.statusCode ?? 502, headers: { "content-type": type }, body: response };
}

function unreachable(error: Error): ApiFailure {
  return new ApiFailure(
    500,
    "InternalError",
    `Internal error occurred: error dialing the kubelet: ${error.message}`,
    {},
  );
}

/**
 * Forwards a client's upgrade request to the kubelet and connects the two sockets. Whatever follows, WebSocket or refusal, is
 * between client and kubelet; this server does not interpret it.
 */
export function proxyUpgrade(call: KubeletCall, request: IncomingMessage, client: Duplex, head: Buffer): void {
  const kubelet = connect(call.address);
  kubelet.on("error", (error) => {
    if (kubelet.bytesRead === 0) refuseUpgrade(client, 502, JSON.stringify(unreachable(error).toStatus()));
    else client.destroy();
  });
  client.on("error", () => kubelet.destroy()).on("close", () => kubelet.end());
  kubelet.write(headOf(`${request.method} ${call.path} HTTP/1.1`, request.rawHeaders));
  kubelet.write(head);
  client.pipe(kubelet).pipe(client);
}

/** Refuses an upgrade request, and closes the connection. */
export function refuseUpgrade(client: Duplex, status: number, body: string): void {
  const length = String(Buffer.byteLength(body));
  const headers = ["content-type", "application/json", "content-length", length, "connection", "close"];
  client.end(headOf(`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, headers) + body);
}

function headOf(first: string, rawHeaders: readonly string[]): string {
  const lines = [first];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}
