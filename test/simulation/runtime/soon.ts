import type { Random } from "./random.ts";
import type { Time } from "./time.ts";

/** What has `act` run a moment after it is called, once however often that is: so a controller comes to what it hears of. */
export function soon(time: Time, random: Random, act: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    time.after(random.between(50, 1_500), () => {
      isDue = false;
      act();
    });
  };
}
