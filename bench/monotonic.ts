/** CLOCK_MONOTONIC in milliseconds, which all processes and namespaces of the machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
