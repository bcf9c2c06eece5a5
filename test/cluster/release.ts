import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Kubernetes' official downloads. */
const releases = "https://dl.k8s.io/release";
const connectMsMax = 5_000;
const downloadMsMax = 600_000;

interface Download {
  readonly program: string;
  /** `v1.35.4` */
  readonly version: string;
  /** Where the executable is put, with its folder. */
  readonly target: string;
  /** @default the official address */
  readonly from?: string;
}

/** Whether the official downloads can be reached. It is asked once, before minutes are spent on them. */
export async function isReachable(version: string, from = releases): Promise<boolean> {
  const url = `${from}/${version}/bin/linux/${architecture()}/kubelet.sha256`;
  return await fetch(url, { signal: AbortSignal.timeout(connectMsMax) }).then(
    (answer) => answer.ok,
    () => false,
  );
}

/**
 * Fetches one program of Kubernetes' official release and compares it with the published SHA-256. Throws Error with both
 * sums when they differ, with the status when the server refuses; the target then does not exist.
 */
export async function download({ program, version, target, from = releases }: Download): Promise<void> {
  const url = `${from}/${version}/bin/linux/${architecture()}/${program}`;
  const [bytes, published] = await Promise.all([fetched(url), fetched(`${url}.sha256`)]);
  const wanted = published.toString().trim().split(/\s+/)[0] ?? "";
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== wanted) throw new Error(`${url} has the SHA-256 ${found}, published is '${wanted}': not kept`);
  const partial = `${target}.${process.pid}`;
  mkdirSync(dirname(target), { recursive: true });
  try {
    writeFileSync(partial, bytes);
    chmodSync(partial, 0o755);
    renameSync(partial, target);
  } finally {
    rmSync(partial, { force: true });
  }
}

async function fetched(url: string): Promise<Buffer> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(downloadMsMax) });
  if (!answer.ok) throw new Error(`GET ${url}: ${answer.status} ${answer.statusText}`);
  return Buffer.from(await answer.arrayBuffer());
}

function architecture(): string {
  return process.arch === "x64" ? "amd64" : process.arch;
}
