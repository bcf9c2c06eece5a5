import type { HttpRoutes } from "./http.ts";

export interface Health {
  /** The stores have had their first list. */
  readonly isSynced: () => boolean;
}

/** The probes of the Pod. A replica that does not lead is ready too: admission is served by every one. */
export function healthRoutes({ isSynced }: Health): HttpRoutes {
  const probe = (isWell: () => boolean, otherwise: string) => ({
    method: "GET" as const,
    answer: async () => (isWell() ? { status: 200 } : { status: 500, body: otherwise }),
  });
  const synced = probe(isSynced, "the objects of the cluster are not read yet");
  return {
    "/runtime/startup": synced,
    "/runtime/readiness": synced,
    "/runtime/liveness": probe(() => true, ""),
  };
}
