import { spawnSync } from "node:child_process";
import { dirname, resolve } from "node:path";
import { isJsonObject, type JsonObject, SpiderError } from "#base";
import type { AskForCredentials } from "#kube";

/** Somebody may have to sign in. */
const answerMsMax = 300_000;
const answerBytesMax = 1_000_000;

/**
 * Runs the program that a user's entry in a kubeconfig names (`exec`), as kubectl does
 * (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins): clusters of most
 * cloud providers, and those with single sign-on, are reached by such programs only. What it writes to stderr is shown. Throws
 * KUBE_CONFIG_INVALID.
 */
export const execCredentials: AskForCredentials = (exec, { path, cluster, env }) => {
  const { command, args, apiVersion, interactiveMode, provideClusterInfo, installHint } = exec;
  const name = String(command ?? "");
  const program = name.includes("/") ? resolve(dirname(path), name) : name;
  const interactive = interactiveMode !== "Never" && process.stdin.isTTY === true;
  const { server } = cluster;
  const told = {
    server,
    "certificate-authority-data": cluster["certificate-authority-data"],
    "tls-server-name": cluster["tls-server-name"],
    "insecure-skip-tls-verify": cluster["insecure-skip-tls-verify"],
  };
  const spec = { interactive, ...(provideClusterInfo === true && { cluster: told }) };
  const ran = spawnSync(program, Array.isArray(args) ? args.map(String) : [], {
    env: {
      ...env,
      ...own(exec["env"]),
      KUBERNETES_EXEC_INFO: JSON.stringify({ apiVersion, kind: "ExecCredential", spec }),
    },
    stdio: [interactive ? "inherit" : "ignore", "pipe", "inherit"],
    encoding: "utf8",
    timeout: answerMsMax,
    maxBuffer: answerBytesMax,
  });
  const details = { path, command: name, ...(typeof installHint === "string" && { installHint }) };
  const invalid = (message: string, more: object = {}) =>
    new SpiderError("KUBE_CONFIG_INVALID", message, { details: { ...details, ...more }, cause: ran.error });
  if (ran.error !== undefined) throw invalid("the program that the kubeconfig names for credentials cannot be run");
  if (ran.status !== 0)
    throw invalid("the program that the kubeconfig names for credentials failed", { status: ran.status ?? ran.signal });
  const { token, clientCertificateData, clientKeyData } = statusOf(ran.stdout);
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const [bearer, clientCert, clientKey] = [token, clientCertificateData, clientKeyData].map(text);
  if (bearer === undefined && (clientCert === undefined || clientKey === undefined))
    throw invalid("the program that the kubeconfig names for credentials gave none");
  return {
    ...(bearer !== undefined && { token: bearer }),
    ...(clientCert !== undefined && clientKey !== undefined && { clientCert, clientKey }),
  };
};

/** The variables that a kubeconfig adds. */
function own(list: unknown): Readonly<Record<string, string>> {
  const entries = Array.isArray(list) ? list.filter(isJsonObject) : [];
  return Object.fromEntries(entries.map(({ name, value }) => [String(name), String(value ?? "")]));
}

function statusOf(stdout: string): JsonObject {
  try {
    const said: unknown = JSON.parse(stdout);
    return isJsonObject(said) && isJsonObject(said["status"]) ? said["status"] : {};
  } catch {
    return {};
  }
}
