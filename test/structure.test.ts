import assert from "node:assert/strict";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { mistakes } from "./simulation/mistakes.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A module imports only modules before it: the order in which the system can be understood. */
const modules = ["ip", "base", "linux", "ovsdb", "kube", "api", "cni", "ipam", "ledger", "multus", "plugins", "doctor"];
const programs = ["agent", "controller", "ctl", "init"];
const labMayImport = ["ip", "base", "linux", "cni"];

interface Import {
  readonly file: string;
  readonly from: string;
}

function importsOf(file: string): readonly Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const pattern = /^(?:import|export)\b(?:[^;"=]*?\bfrom\s+|\s+)"([^"]+)";$/gm;
  return [...text.matchAll(pattern)].flatMap(([, from]) => (from === undefined ? [] : [{ file, from }]));
}

const sources = globSync("{src,lab}/**/*.ts", { cwd: root }).map(normalize);
const imports = sources.flatMap(importsOf);
/** Tests and testing folders build worlds out of anything. */
const exempt = (file: string) => /(^|\/)testing\/|\.test\.ts$/.test(file);
const home = (file: string) => (file.startsWith("src/") ? (file.split("/")[1] ?? "") : "lab");

describe("the structure", () => {
  it("has source files to look at, each in a known module", () => {
    assert.ok(imports.length > 100, `only ${imports.length} imports found`);
    const known = [...modules, ...programs, "lab"];
    assert.deepEqual(
      sources.filter((file) => !known.includes(home(file))),
      [],
    );
  });

  it("lets a module import only modules before it, and the lab only those that know no product", () => {
    const wrong = imports
      .filter(({ file, from }) => from.startsWith("#") && !exempt(file))
      .filter(({ file, from }) => {
        const target = from.slice(1);
        if (home(file) === "lab") return !labMayImport.includes(target);
        if (programs.includes(home(file))) return !modules.includes(target);
        return modules.indexOf(target) === -1 || modules.indexOf(target) >= modules.indexOf(home(file));
      });
    assert.deepEqual(wrong, []);
  });

  it("keeps relative imports inside their module", () => {
    const wrong = imports
      .filter(({ file, from }) => from.startsWith(".") && !exempt(file))
      .filter(({ file, from }) => home(normalize(join(dirname(file), from))) !== home(file));
    assert.deepEqual(wrong, []);
  });

  it("has no circle of files that need each other to run", () => {
    const all = globSync("{src,lab,test,bench,scripts,shim,images}/**/*.ts", { cwd: root }).map(normalize);
    // What is imported for its type alone is gone when the program runs.
    const needs = /^(?:import|export) (?!type )[^;"]*?\bfrom "(\.[^"]+)";$/gm;
    const needsOf = new Map(
      all.map((file) => {
        const text = readFileSync(join(root, file), "utf8");
        return [file, Array.from(text.matchAll(needs), ([, from = ""]) => normalize(join(dirname(file), from)))];
      }),
    );
    // Whatever needs nothing that is left, or is needed by nothing that is left, is in no circle.
    for (let before = -1; before !== needsOf.size; ) {
      before = needsOf.size;
      for (const [file, needed] of needsOf) if (!needed.some((one) => needsOf.has(one))) needsOf.delete(file);
      const wanted = new Set([...needsOf.values()].flat());
      for (const file of needsOf.keys()) if (!wanted.has(file)) needsOf.delete(file);
    }
    assert.ok(all.length > 1_000, `only ${all.length} files found`);
    assert.deepEqual([...needsOf.keys()], []);
  });

  it("loads node:http without what an import of it as a module loads besides", () => {
    const imports = sources
      .filter((file) => file.startsWith("src/") && !exempt(file))
      .filter((file) => /^import (?!type )[^;]* from "node:http";$/m.test(readFileSync(join(root, file), "utf8")));
    assert.deepEqual(imports, []);
  });

  it("starts no process from the product: netlink and OVSDB are spoken to directly", () => {
    const starters = imports.filter(
      ({ file, from }) => file.startsWith("src/") && !exempt(file) && /^(node:)?child_process$/.test(from),
    );
    // The user's own programs are none of it: kubectl knows the way into a Pod of every cluster, others the user's credentials.
    assert.deepEqual(starters.map(({ file }) => file).sort(), [
      "src/ctl/bundle/agents.ts",
      "src/ctl/exec-credentials.ts",
    ]);
  });

  it("gives each module one door that says what it is for", () => {
    for (const module of modules) {
      const door = join(root, "src", module, "index.ts");
      assert.ok(existsSync(door), `src/${module}/index.ts is missing`);
      assert.match(
        readFileSync(door, "utf8"),
        /^\/\*\*\n \* \S/,
        `src/${module}/index.ts must open with what it is for`,
      );
    }
  });

  it("exports only what another file imports", () => {
    const all = globSync("{src,lab,test,bench,scripts,shim,images}/**/*.ts", { cwd: root }).map(normalize);
    const listed = /^(?:import|export) (?:type )?(?:\{([^}]*)\}|\*(?: as \w+)?) from "([#.][^"]+)";$/gm;
    const declared = /^export (?:async |abstract )?(?:function\*?|class|type|interface|const|let) (\w+)/gm;
    const texts = new Map(all.map((file) => [file, readFileSync(join(root, file), "utf8")]));
    const names = (list: string) => list.split(",").flatMap((name) => name.trim().replace(/^type /, "") || []);
    const pathOf = (file: string, from: string) =>
      from.startsWith("#") ? `src/${from.slice(1)}/index.ts` : normalize(join(dirname(file), from));
    const imported = new Set<string>();
    for (const [file, text] of texts) {
      for (const [, list = "*", from = ""] of text.matchAll(listed)) {
        for (const name of names(list)) imported.add(`${pathOf(file, from)}: ${name.replace(/ as .*/, "")}`);
      }
      for (const [, from = ""] of text.matchAll(/import\("([#.][^"]+)"\)/g)) imported.add(`${pathOf(file, from)}: *`);
    }
    const unused = [...texts]
      // They stand in for files that somebody imports.
      .filter(([file]) => !file.startsWith("test/simulation/replaced/") && !imported.has(`${file}: *`))
      .flatMap(([file, text]) => {
        const own = Array.from(text.matchAll(declared), ([, name]) => name);
        const passedOn = [...text.matchAll(listed)].filter(([line]) => line.startsWith("export"));
        const others = passedOn.flatMap(([, list = ""]) => names(list).map((name) => name.replace(/.* as /, "")));
        return [...own, ...others].map((name) => `${file}: ${name}`);
      })
      .filter((one) => !imported.has(one));
    assert.ok(imported.size > 1_000, `only ${imported.size} imports found`);
    assert.deepEqual(unused, []);
  });

  it("explains everything that a file exports", () => {
    const exported = /^export (?:async |abstract )?(?:function\*?|class|type|interface|const) (\w+)/;
    const unexplained = sources
      .filter((file) => !exempt(file))
      .flatMap((file) => {
        const lines = readFileSync(join(root, file), "utf8").split("\n");
        // The first of several signatures has the comment for all.
        const first = new Map(lines.map((line, at) => [exported.exec(line)?.[1], at] as const).reverse());
        first.delete(undefined);
        // So has the first of a list: exports that follow each other without a blank line.
        const isExplained = (at: number): boolean => {
          const before = lines
            .slice(0, at)
            .findLastIndex((line) => line === "" || exported.test(line) || line.endsWith("*/"));
          const line = lines[before] ?? "";
          if (before === at - 1 && line.endsWith("*/")) return true;
          return exported.test(line) && isExplained(before);
        };
        return [...first].filter(([, at]) => !isExplained(at)).map(([name]) => `${file}: ${name}`);
      });
    assert.deepEqual(unexplained, []);
  });

  it("has every file of the agent on the architecture's map, in its folder's row", () => {
    const map = readFileSync(join(root, "docs/architecture.md"), "utf8");
    const rowOf = (folder: string) => map.split("\n").find((line) => line.startsWith(`| \`${folder}/\` |`)) ?? "";
    const files = globSync("src/agent/{*,*/*}.ts", { cwd: root })
      .map(normalize)
      .filter((file) => !exempt(file) && dirname(file) !== "src/agent/build");
    assert.ok(files.length > 40, `only ${files.length} files found`);
    assert.deepEqual(
      files.filter((file) => {
        const where = dirname(file) === "src/agent" ? map : rowOf(basename(dirname(file)));
        return !where.includes(`\`${basename(file)}\``);
      }),
      [],
    );
  });

  it("has every file and folder of the controller on the architecture's map", () => {
    const map = readFileSync(join(root, "docs/architecture.md"), "utf8").split("### Inside the controller")[1] ?? "";
    const found = readdirSync(join(root, "src/controller"));
    const names = found.filter((name) => name !== "testing" && !exempt(name));
    assert.ok(names.length > 20, `only ${names.length} files and folders found`);
    assert.deepEqual(
      names.filter((name) => !map.includes(`\`${name}\``)),
      [],
    );
  });

  it("lets a folder of the agent know only those further down on the map", () => {
    const map = readFileSync(join(root, "docs/architecture.md"), "utf8");
    const folderOf = (file: string) => /^src\/agent\/(\w+)\//.exec(file)?.[1] ?? "";
    const found = globSync("src/agent/*/*.ts", { cwd: root }).map((file) => folderOf(normalize(file)));
    const folders = [...new Set(found)].filter((folder) => !["build", "testing"].includes(folder));
    const order = folders.toSorted((a, b) => map.indexOf(`| \`${a}/\` |`) - map.indexOf(`| \`${b}/\` |`));
    const wrong = imports
      .filter(({ file, from }) => from.startsWith(".") && !exempt(file) && folders.includes(folderOf(file)))
      .filter(({ file, from }) => {
        const target = folderOf(normalize(join(dirname(file), from)));
        return target !== "" && order.indexOf(target) < order.indexOf(folderOf(file));
      });
    assert.deepEqual(wrong, []);
  });

  it("has the text that each planted mistake of the simulation replaces once in its file", () => {
    const times = (text: string, find: string) => text.split(find).length - 1;
    const wrong = mistakes.flatMap(({ name, edits }) =>
      edits
        .filter(({ file, find }) => times(readFileSync(join(root, file), "utf8"), find) !== 1)
        .map(({ file, find }) => `${name}: ${file}: ${find}`),
    );
    assert.deepEqual(wrong, []);
  });

  it("has no source file that nobody could read in one sitting", () => {
    const long = sources
      .filter((file) => !file.endsWith(".test.ts"))
      .filter((file) => readFileSync(join(root, file), "utf8").split("\n").length > 450);
    assert.deepEqual(long, []);
  });
});
