/** The law of addresses was broken: what was seen, and when. */
export class Violation extends Error {
  constructor(law: string, seen: string) {
    super(`${law}: ${seen}`);
    this.name = "Violation";
  }
}
