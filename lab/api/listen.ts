/** Where to listen: a port of `host` (any free one by default), or a bound socket inherited as a descriptor. */
export interface ListenOptions {
  /** @default "127.0.0.1" */
  readonly host?: string;
  /** @default 0, any free port */
  readonly port?: number;
  /** A bound TCP socket, for example one made in another network namespace. Wins over host and port. */
  readonly fd?: number;
}

/** One open door of the server. */
export interface Listener extends AsyncDisposable {
  /** 0 where the listener was made from a descriptor and the system does not tell. */
  readonly port: number;
  /** `http://host:port` */
  readonly url: string;
  close(): Promise<void>;
}
