import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The linter's own executable: its platform package, without the JavaScript wrapper around it. */
const biome = `${root}node_modules/@biomejs/cli-linux-${process.arch}/biome`;

/** Types and lint, each printed with its outcome. True when all are clean. */
export function runChecks(): boolean {
  const checks: readonly (readonly [string, readonly string[]])[] = [
    ["types", ["tsc", "-p", root]],
    ["lint", [biome, "check", "--error-on-warnings", root]],
  ];
  return checks
    .map(([name, [program = "", ...argv]]) => {
      const { status, stdout, stderr } = spawnSync(program, argv, { cwd: root, encoding: "utf8" });
      console.log(`${status === 0 ? "✔" : "✖"} ${name}`);
      if (status !== 0) console.log(`${stdout}${stderr}`);
      return status === 0;
    })
    .every(Boolean);
}
