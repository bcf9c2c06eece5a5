import { codeOf, nodeHttp, type Signal, SpiderError } from "#base";

/** The socket of the agent's API in the chart. */
export const agentSocket = "/var/run/spidernet/spiderpool.sock";
const answerBytesMax = 16 << 20;

/**
 * Asks this node's agent over its socket, which works without the API server. Returns the answer's JSON; undefined for an empty
 * answer. Throws AGENT_UNREACHABLE if nobody answers, and AGENT_REFUSED with the agent's own sentence.
 */
export async function askAgent(
  socketPath: string,
  path: string,
  { signal, method = "GET" }: Signal & { readonly method?: "GET" | "POST" },
): Promise<unknown> {
  const { status, text } = await send(method, socketPath, path, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    const why = codeOf(cause) === "ENOENT" ? "there is no such socket" : codeOf(cause);
    throw new SpiderError(
      "AGENT_UNREACHABLE",
      `no agent answers on ${socketPath} (${why}); run this on a node, as root, or in the Pod of its agent, or name the socket with --socket`,
      { cause },
    );
  });
  const answer: unknown = text === "" ? undefined : JSON.parse(text);
  if (status === 200) return answer;
  throw new SpiderError("AGENT_REFUSED", `the agent answered ${status} to ${path}: ${String(answer)}`);
}

function send(method: string, socketPath: string, path: string, signal: AbortSignal) {
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const sent = nodeHttp().request({ method, socketPath, path, signal, headers: { host: "agent" } }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) response.destroy(new Error(`more than ${answerBytesMax} bytes`));
        chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.on("error", reject);
    sent.end();
  });
}
