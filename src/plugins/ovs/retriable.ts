import { hasCode } from "#base";
import { CniError, cniCodes } from "#cni";

/** The outcome of a call of Open vSwitch; its absence is worth another try by the runtime (CniError 11). */
export async function retriable<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw hasCode(error, "OVSDB_UNREACHABLE") ? CniError.from(error, cniCodes.tryAgain) : error;
  }
}
