import { type FailPoint, Steps, systemClock } from "#base";

/** Long enough for any call that a test expects to end. */
export const deadline = () => ({ signal: AbortSignal.timeout(120_000) });

/** Runs stages as the agent does: commits them, or undoes everything and throws. */
export async function runSteps<T>(act: (steps: Steps) => Promise<T>, failPoint: FailPoint = () => {}): Promise<T> {
  const steps = new Steps({ clock: systemClock, ...deadline(), failPoint });
  try {
    const result = await act(steps);
    await steps.settled();
    steps.commit();
    return result;
  } catch (error) {
    await steps.abort();
    throw error;
  }
}
