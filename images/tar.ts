/** A layer's content by path, without a leading slash. Owner is always root and time always zero, for reproducibility. */
export type Entry =
  | { readonly kind: "file"; readonly mode: number; readonly content: Buffer }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "directory"; readonly mode: number };

export type Tree = Map<string, Entry>;

const blockBytes = 512;
const types = { file: "0", link: "2", directory: "5" } as const;

/** Encodes a tree as a ustar archive, sorted by path; adds missing parent directories. Throws RangeError for too long a path. */
export function encodeTar(tree: Tree): Buffer {
  const complete = new Map(tree);
  for (const path of tree.keys()) {
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      const parent = path.slice(0, at);
      if (!complete.has(parent)) complete.set(parent, { kind: "directory", mode: 0o755 });
    }
  }
  const parts: Buffer[] = [];
  for (const [path, entry] of [...complete].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const content = entry.kind === "file" ? entry.content : Buffer.alloc(0);
    parts.push(header(path, entry, content.length), content, Buffer.alloc(-content.length & (blockBytes - 1)));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * blockBytes)]);
}

function header(path: string, entry: Entry, size: number): Buffer {
  const { name, prefix } = split(entry.kind === "directory" ? `${path}/` : path);
  const block = Buffer.alloc(blockBytes);
  const text = (value: string, at: number, max: number) => {
    if (Buffer.byteLength(value) > max) throw new RangeError(`${value} is longer than ${max} bytes`);
    block.write(value, at);
  };
  const octal = (value: number, at: number, digits: number) =>
    block.write(`${value.toString(8).padStart(digits, "0")}\0`, at);
  text(name, 0, 100);
  octal(entry.kind === "link" ? 0o777 : entry.mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(0, 136, 11);
  block.fill(" ", 148, 156);
  text(types[entry.kind], 156, 1);
  if (entry.kind === "link") text(entry.target, 157, 100);
  block.write("ustar\x0000", 257);
  text(prefix, 345, 155);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** ustar has 100 bytes for the name and 155 for the directories before it. */
function split(path: string): { readonly name: string; readonly prefix: string } {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: "" };
  const at = path.indexOf("/", path.length - 101);
  if (at <= 0 || at === path.length - 1) throw new RangeError(`${path} does not fit into a ustar header`);
  return { name: path.slice(at + 1), prefix: path.slice(0, at) };
}
