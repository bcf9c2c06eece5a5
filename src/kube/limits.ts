/** Every bound of this module, in one place. */
export const limits = {
  /** One answer of the API server that is not a watch: a page of 500 large Pods is about 10 MB. */
  bodyBytesMax: 64 * 2 ** 20,
  /** One line of a watch, which is one object; etcd refuses objects above 1.5 MiB. */
  watchLineBytesMax: 8 * 2 ** 20,
  /** The body of an error answer; the rest is dropped. */
  errorBodyBytesMax: 64 * 2 ** 10,
  /** Objects asked for in one page of a list. */
  listPageItems: 500,
  /** How long a TCP connection may take. After that it is tried again, because its first packet may be lost. */
  connectTimeoutMs: 3_000,
  /**
   * A server that has no time for a TLS handshake has even less for another one: giving up early would multiply its work. Shorter
   * than a call may take: if a call ends without a connection, it was certainly not sent.
   */
  handshakeTimeoutMs: 8_000,
  /** How long one call may take from the client's side. */
  callTimeoutMs: 10_000,
  /** A page of a list of large objects may take longer than a call for one. */
  listTimeoutMs: 60_000,
  /**
   * The `?timeout=` of a mutating call: after this time its outcome is settled at the server. A busy server queues a request for
   * a quarter of it, then refuses it, and the next attempt queues behind all others. Code that must know when a lost call has
   * ended, such as the finalizer of pools, relies on this time.
   */
  mutationTimeoutS: 14,
  /** The longest Retry-After that is obeyed: a server or proxy that names hours must not stop a node for hours. */
  retryAfterMsMax: 60_000,
  /** The head of an answer, and the size and trailers of its chunks. */
  headBytesMax: 64 * 2 ** 10,
  /** A body is read no further while so much of it waits for its reader. */
  bodyBytesAhead: 2 ** 20,
  /** Connections for ordinary calls. */
  callSockets: 32,
  /** Connections for views, apart from those of calls: few, because nobody waits for what they carry. */
  viewSockets: 4,
  /** Connections for watches: one each. */
  watchSockets: 64,
  /** An unused connection is closed before the server (90 s) would do it under a request. */
  freeSocketTimeoutMs: 30_000,
  /** No event and no bookmark (sent about once a minute) for this long: the watch is taken for dead. */
  watchSilenceMs: 150_000,
  /**
   * After this silence the kernel asks the peer whether it is still there, and closes the connection after ten more silent
   * seconds. Otherwise a watch that a network failure cut off would report nothing, although the network is back.
   */
  peerSilenceMs: 15_000,
  /** A doubtful watch that was silent for so long is opened again. */
  watchDoubtMs: 5_000,
  /** Files with tokens and certificates are looked at this often at most. */
  credentialCheckMs: 1_000,
  /** Events waiting to be written, and causes remembered to drop repetitions. */
  eventQueue: 256,
  eventCauses: 4_096,
} as const;
