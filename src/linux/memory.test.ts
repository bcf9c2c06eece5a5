import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { cleanRanges, releaseCode } from "./memory.ts";

const mapping = (line: string, anonymousKb: number) =>
  `${line}\nSize:  400 kB\nRss:   100 kB\nAnonymous:  ${anonymousKb} kB\nVmFlags: rd mr mw me\n`;

test("only what is mapped from the executable and was never written is let go of", () => {
  const smaps = [
    mapping("00400000-00500000 r--p 00000000 08:01 123                                /usr/bin/node", 0),
    mapping("00500000-00900000 r-xp 00100000 08:01 123                                /usr/bin/node", 0),
    // Relocated once, then protected.
    mapping("00900000-00a00000 r--p 00500000 08:01 123                                /usr/bin/node", 8),
    mapping("00a00000-00b00000 rw-p 00600000 08:01 123                                /usr/bin/node", 0),
    mapping("7f0000000000-7f0000100000 r--p 00000000 00:00 0", 0),
    mapping("7f0000100000-7f0000200000 r-xp 00000000 08:01 124                        /usr/lib/libc.so.6", 0),
    mapping("7f0000200000-7f0000300000 r-xp 00000000 00:00 0                          [vdso]", 0),
  ].join("");
  const ranges = cleanRanges(smaps, "/usr/bin/node").map(
    ({ start, end }) => `${start.toString(16)}-${end.toString(16)}`,
  );
  assert.deepEqual(ranges, ["400000-500000", "500000-900000"]);
});

test("a program that has let go of its code is smaller and goes on", () => {
  const residentKb = () => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  const before = residentKb();
  releaseCode();
  const after = residentKb();
  assert.ok(after < before, `${after} KB, ${before} KB before`);
  assert.equal(JSON.parse(JSON.stringify({ a: [1, 2n.toString()] })).a[1], "2");
});
