/** The look at a real node for what is wrong with it. */
export * from "../../../src/agent/node/doctor.ts";

export function runDoctor(): Promise<void> {
  return Promise.resolve();
}
