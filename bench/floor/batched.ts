/**
 * Batches work: items that arrive while a round runs are done together in the next one.
 *
 * @param act one round; answers for each item
 * @param least so many are waited for before the first round
 */
export function batched<T, R>(act: (items: readonly T[]) => Promise<readonly R[]>, least = 1): (item: T) => Promise<R> {
  let waiting: {
    readonly item: T;
    readonly resolve: (answer: R) => void;
    readonly reject: (error: unknown) => void;
  }[] = [];
  let busy = false;
  let missing = least;
  const round = async () => {
    busy = true;
    const now = waiting;
    waiting = [];
    try {
      const answers = await act(now.map(({ item }) => item));
      for (const [at, { resolve }] of now.entries()) resolve(answers[at] as R);
    } catch (error) {
      for (const { reject } of now) reject(error);
    }
    busy = false;
    if (waiting.length > 0) void round();
  };
  return (item) => {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    waiting.push({ item, resolve, reject });
    missing -= 1;
    if (!busy && missing <= 0) void round();
    return promise;
  };
}
