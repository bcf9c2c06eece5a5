import { readFileSync, readlinkSync } from "node:fs";
import { libc } from "./libc.ts";

const dontNeed = 4;

/** Start and end of a part of a program's memory. */
interface MappedRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Lets go of the pages of this process's executable, most of which only its start needs: what is used again comes back from
 * the page cache, in microseconds. They are resident no longer, and the kernel may reclaim them.
 */
export function releaseCode(): void {
  const executable = readlinkSync("/proc/self/exe");
  for (const { start, end } of cleanRanges(readFileSync("/proc/self/smaps", "utf8"), executable)) {
    libc.madvise(start, end - start, dontNeed); // Where it is refused they just stay.
  }
}

/**
 * Where the file is mapped, cannot be written and was never written: to drop a page there loses nothing. `smaps` is the text
 * of /proc/PID/smaps.
 */
export function cleanRanges(smaps: string, file: string): readonly MappedRange[] {
  const mappings = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.flatMap((text) => {
    const [, start, end, path] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +(.+)$/m.exec(text) ?? [];
    if (start === undefined || end === undefined || path !== file || !/^Anonymous: +0 kB$/m.test(text)) return [];
    return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }];
  });
}
