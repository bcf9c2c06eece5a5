import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { HttpRoutes } from "./http.ts";

/** A probe of the chart waits for one second. */
const webhookMsMax = 800;

/** What the probes ask. */
export interface Health {
  /** The stores have had their first list. */
  readonly isSynced: () => boolean;
  /** Admission is answered. */
  readonly isServing: () => Promise<boolean>;
  /** Somebody leads; where it is us, what only a leader reads has been read. */
  readonly isLed: () => boolean;
}

/** The probes of the Pod. A replica that does not lead is ready too: admission is served by every one. */
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

/** Whether the webhook's own health path answers 200 where we have bound it; never rejects. */
export function webhookAnswers(
  { host, port }: { readonly host: string | undefined; readonly port: number },
  { tls }: { readonly tls: boolean },
): Promise<boolean> {
  return new Promise((resolve) => {
    // Our own certificate names the Service, not this address.
    // An address that means all of them means this machine to a client.
    const options = {
      host: host ?? "localhost",
      port,
      path: "/webhook-health-check",
      rejectUnauthorized: false,
      agent: false,
    };
    const request = (tls ? httpsRequest : httpRequest)({ ...options, timeout: webhookMsMax }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", () => resolve(false));
    request.end();
  });
}
