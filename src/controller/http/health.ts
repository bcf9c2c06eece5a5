import { request as httpsRequest } from "node:https";
import { nodeHttp } from "#base";
import type { HttpRoutes } from "./http.ts";

/** Less than the second after which the chart's probes time out. */
const webhookMsMax = 800;

/** The state that the probes check. */
export interface Health {
  /** All stores have received their first list. */
  readonly isSynced: () => boolean;
  /** The webhook port answers. */
  readonly isServing: () => Promise<boolean>;
  /** Some replica leads. If it is this one, the stores that only a leader needs are filled, too. */
  readonly isLed: () => boolean;
}

/** The Pod's probes. A replica that does not lead is ready, too: every replica serves admission. */
export function healthRoutes({ isSynced, isServing, isLed }: Health): HttpRoutes {
  const routes: Record<string, HttpRoutes[string]> = {};
  const probe = (name: string, check: () => Promise<string | undefined>) => {
    const answer = async () => {
      const wrong = await check();
      return wrong === undefined ? { status: 200 } : { status: 500, body: wrong };
    };
    for (const path of [`/runtime/${name}`, `/v1/runtime/${name}`]) routes[path] = { method: "GET", answer };
  };
  const synced = async () => (isSynced() ? undefined : "the objects of the cluster are not read yet");
  const serving = async () => ((await isServing()) ? undefined : "the webhook port does not answer");
  const led = async () => (isLed() ? undefined : "no replica leads yet");
  probe("startup", synced);
  probe("liveness", serving);
  probe("readiness", async () => (await synced()) ?? (await serving()) ?? (await led()));
  return routes;
}

/** Whether the webhook's health path answers 200 on the address where it is bound; never rejects. */
export function webhookAnswers(
  { host, port }: { readonly host: string | undefined; readonly port: number },
  { tls }: { readonly tls: boolean },
): Promise<boolean> {
  return new Promise((resolve) => {
    // Our certificate names the Service, not this address.
    // If the server is bound to all addresses, the client connects to loopback.
    const options = {
      host: host ?? "localhost",
      port,
      path: "/webhook-health-check",
      rejectUnauthorized: false,
      agent: false,
    };
    const request = (tls ? httpsRequest : nodeHttp().request)({ ...options, timeout: webhookMsMax }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", () => resolve(false));
    request.end();
  });
}
