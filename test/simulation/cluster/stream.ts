/** The body of an answer that arrives piece by piece. */
export class Stream implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  #ended: { readonly error: unknown } | undefined;
  #wake: PromiseWithResolvers<void> | undefined;

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#wake?.resolve();
  }

  /** What was pushed is still read; then the reader meets the error, if there is one, or the end. */
  end(error?: unknown): void {
    this.#ended ??= { error };
    this.#wake?.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return;
      } else {
        this.#wake = Promise.withResolvers<void>();
        await this.#wake.promise;
      }
    }
  }
}
