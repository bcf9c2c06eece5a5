/** Text that is not the expected address, prefix, range or name. The message contains the text, cut to 80 characters. */
export class IpParseError extends Error {
  readonly code = "IP_PARSE";
  /** The whole refused text. */
  readonly text: string;

  constructor(what: string, text: string, reason: string) {
    super(`${what} '${text.length > 80 ? `${text.slice(0, 80)}…` : text}': ${reason}`);
    this.name = "IpParseError";
    this.text = text;
  }
}
