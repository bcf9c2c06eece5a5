/** Text that is not the address, prefix, range or name that it should be. The message holds the text (cut to 80 characters). */
export class IpParseError extends Error {
  readonly code = "IP_PARSE";
  /** The text refused, uncut. */
  readonly text: string;

  constructor(what: string, text: string, reason: string) {
    super(`${what} '${text.length > 80 ? `${text.slice(0, 80)}…` : text}': ${reason}`);
    this.name = "IpParseError";
    this.text = text;
  }
}
