import { readFileSync, readlinkSync } from "node:fs";
import { libc } from "./libc.ts";

const dontNeed = 4;

/** Start and end of a part of a program's memory. */
interface MappedRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Drops the pages of this process's executable from its resident memory, so that the kernel may reclaim them: most are needed
 * only at the start. A page that is used again comes back from the page cache in microseconds.
 */
export function releaseCode(): void {
  const executable = readlinkSync("/proc/self/exe");
  for (const { start, end } of cleanRanges(readFileSync("/proc/self/smaps", "utf8"), executable)) {
    libc.madvise(start, end - start, dontNeed); // If the kernel refuses, they just stay.
  }
}

/**
 * Where the file is mapped read-only and was never written, so that dropping a page loses nothing. `smaps` is the text of
 * /proc/PID/smaps.
 */
export function cleanRanges(smaps: string, file: string): readonly MappedRange[] {
  const mappings = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.flatMap((text) => {
    const [, start, end, path] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +(.+)$/m.exec(text) ?? [];
    if (start === undefined || end === undefined || path !== file || !/^Anonymous: +0 kB$/m.test(text)) return [];
    return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }];
  });
}
