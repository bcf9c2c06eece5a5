import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import koffi from "koffi";
import { SpiderError } from "#base";

const libc = koffi.load("libc.so.6");
const initActions = libc.func("int posix_spawn_file_actions_init(void *actions)");
const addOpen = libc.func(
  "int posix_spawn_file_actions_addopen(void *actions, int fd, str path, int flags, uint mode)",
);
const destroyActions = libc.func("int posix_spawn_file_actions_destroy(void *actions)");
const spawn = libc.func(
  "int posix_spawn(_Out_ int *pid, str path, void *actions, void *attributes, const char **argv, const char **env)",
);
const waitpid = libc.func("int waitpid(int pid, _Out_ int *status, int options)");
/** Larger than glibc's posix_spawn_file_actions_t on any platform (80 bytes on x86-64). */
const actionsBytes = 256;
const [readOnly, writeTruncated] = [0o0, 0o1101];

let calls = 0;

/**
 * Executes a program and waits, as container runtimes do: by vfork, which does not copy this process's page tables. Node's
 * own spawn forks, which costs a millisecond of what is measured here. Blocks. Throws SpiderError LAB_COMMAND.
 */
export function execute(path: string, input: string, env: NodeJS.ProcessEnv, folder: string): string {
  const child = start(path, input, env, folder);
  const status = [0];
  waitpid(child.pid, status, 0);
  return output(path, child.stdout, status[0] ?? 0);
}

/** The same without blocking: many at once. */
export async function executeBeside(
  path: string,
  input: string,
  env: NodeJS.ProcessEnv,
  folder: string,
): Promise<string> {
  const child = start(path, input, env, folder);
  const status = [0];
  await promisify(waitpid.async)(child.pid, status, 0);
  return output(path, child.stdout, status[0] ?? 0);
}

function start(
  path: string,
  input: string,
  env: NodeJS.ProcessEnv,
  folder: string,
): { readonly pid: number; readonly stdout: string } {
  const call = ++calls;
  const [stdin, stdout] = [join(folder, `stdin-${call}`), join(folder, `stdout-${call}`)];
  writeFileSync(stdin, input);
  const actions = Buffer.alloc(actionsBytes);
  initActions(actions);
  addOpen(actions, 0, stdin, readOnly, 0);
  addOpen(actions, 1, stdout, writeTruncated, 0o600);
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const pid = [0];
  const failed = spawn(pid, path, actions, null, [path, null], [...variables, null]);
  destroyActions(actions);
  if (failed !== 0) throw new SpiderError("LAB_COMMAND", `${path} could not be run`, { details: { errno: failed } });
  return { pid: pid[0] ?? 0, stdout };
}

function output(path: string, file: string, status: number): string {
  const stdout = readFileSync(file, "utf8");
  if (status === 0) return stdout;
  throw new SpiderError("LAB_COMMAND", `${path} failed`, { details: { status: status >> 8, stdout } });
}
