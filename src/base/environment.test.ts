import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Environment } from "./environment.ts";
import { hasCode } from "./errors.ts";

describe("Environment", () => {
  it("trims values, and uses the default for unset and blank ones", () => {
    const environment = new Environment({ NAME: " a ", BLANK: "  ", COUNT: "5", ON: "T", PORT: "0", SPEC: '{"a":1}' });
    assert.deepEqual(
      [environment.text("NAME"), environment.text("OTHER"), environment.needed("NAME"), environment.flag("ON", false)],
      ["a", "", "a", true],
    );
    assert.deepEqual(
      [environment.flag("BLANK", true), environment.integer("BLANK", 7, { min: 1, max: 9 }), environment.logLevel()],
      [true, 7, "info"],
    );
    assert.deepEqual(
      [environment.integer("COUNT", 7, { min: 1, max: 9 }), environment.json("SPEC"), environment.json("BLANK")],
      [5, { a: 1 }, undefined],
    );
    assert.deepEqual(
      [environment.port("PORT", 1), environment.port("BLANK", undefined), environment.port("PORT", 1, "80")],
      [0, undefined, 80],
    );
    environment.check();
  });

  it("reports all mistakes at once, each with the value found and what is allowed", () => {
    const environment = new Environment({
      ON: "yes",
      COUNT: "1.5",
      SPEC: "[]",
      PORT: "70000",
      SPIDERPOOL_LOG_LEVEL: "loud",
    });
    environment.needed("NAME");
    environment.flag("ON", true);
    environment.integer("COUNT", 1, { min: 1, max: 9 });
    environment.json("SPEC");
    environment.port("PORT", 1);
    environment.logLevel();
    const said = [
      "cannot start: NAME is not set",
      'ON is "yes", allowed are true and false',
      'COUNT is "1.5", allowed are 1 to 9',
      'SPEC is "[]", a JSON object is needed',
      'PORT or its flag is "70000", a port is needed',
      'SPIDERPOOL_LOG_LEVEL is "loud", allowed are debug, info, warn, error, fatal',
    ];
    assert.throws(
      () => environment.check(),
      (error) => hasCode(error, "OPTIONS_INVALID") && error.message === said.join("; "),
    );
  });
});
