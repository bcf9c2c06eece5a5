import assert from "node:assert/strict";
import { isJsonObject } from "#base";
import { tryParseIp, tryParsePrefix } from "#ip";
import { compareVersions, resultVersions, supportedVersions } from "../versions.ts";

/** The words of JSON Schema that the answers need. An object has no other fields than its `properties`. */
interface Schema {
  readonly type: "object" | "array" | "string" | "integer";
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly enum?: readonly unknown[];
  readonly format?: string;
}

const formats: Readonly<Record<string, (text: string) => boolean>> = {
  // Those of the specification, and those that plugins may give a meaning; ours say 999 by custom.
  code: (text) => [1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51].includes(Number(text)) || Number(text) >= 100,
  ip: (text) => tryParseIp(text) !== undefined,
  cidr: (text) => text.includes("/") && tryParsePrefix(text) !== undefined,
  mac: (text) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text),
};

const text: Schema = { type: "string", minLength: 1 };
const texts: Schema = { type: "array", items: text, minItems: 1 };
const number: Schema = { type: "integer", minimum: 1 };
const index: Schema = { type: "integer", minimum: 0 };
const ip: Schema = { type: "string", format: "ip" };
const cidr: Schema = { type: "string", format: "cidr" };

/** What the answer to a successful ADD is in a version of the specification, from 0.3.0 on: exactly this, and never null. */
function resultSchema(version: string): Schema {
  const since = (least: string, more: Readonly<Record<string, Schema>>) =>
    compareVersions(version, least) >= 0 ? more : {};
  const isOld = compareVersions(version, "1.0.0") < 0;
  const list = (required: readonly string[], properties: Readonly<Record<string, Schema>>): Schema => ({
    type: "array",
    minItems: 1,
    items: { type: "object", required, properties },
  });
  return {
    type: "object",
    required: ["cniVersion", ...(isOld ? ["dns"] : [])],
    properties: {
      cniVersion: { type: "string", enum: [version] },
      interfaces: list(["name"], {
        name: text,
        mac: { type: "string", format: "mac" },
        sandbox: text,
        // Of 1.1.0; in the reference the types of 1.0.0 are the same ones.
        ...since("1.0.0", { mtu: number, socketPath: text, pciID: text }),
      }),
      ips: list(["address", ...(isOld ? ["version"] : [])], {
        address: cidr,
        gateway: ip,
        interface: index,
        ...(isOld && { version: { type: "string", enum: ["4", "6"] } }),
      }),
      // The numbers are of 1.1.0; in the reference the type of a route is the same in all versions.
      routes: list(["dst"], {
        dst: cidr,
        gw: ip,
        mtu: number,
        advmss: number,
        priority: number,
        table: index,
        scope: index,
      }),
      dns: { type: "object", properties: { nameservers: texts, domain: text, search: texts, options: texts } },
    },
  };
}

const errorSchema: Schema = {
  type: "object",
  required: ["cniVersion", "code", "msg"],
  properties: {
    cniVersion: { type: "string", enum: resultVersions },
    code: { type: "integer", format: "code" },
    msg: text,
    details: text,
  },
};

const versionSchema: Schema = {
  type: "object",
  required: ["cniVersion", "supportedVersions"],
  properties: {
    cniVersion: { type: "string", enum: supportedVersions },
    supportedVersions: { type: "array", minItems: 1, items: { type: "string", enum: supportedVersions } },
  },
};

/** Every way in which the value is not as the schema says, with the path of the field. */
function schemaFaults(value: unknown, schema: Schema, path = "answer"): readonly string[] {
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${path}: ${JSON.stringify(value)}`];
  switch (schema.type) {
    case "integer":
      if (!Number.isSafeInteger(value) || Number(value) < (schema.minimum ?? 0)) return [`${path}: no such number`];
      break;
    case "string":
      if (typeof value !== "string" || value.length < (schema.minLength ?? 0)) return [`${path}: no text`];
      break;
    case "array": {
      const { items } = schema;
      if (!Array.isArray(value) || value.length < (schema.minItems ?? 0)) return [`${path}: no list, or an empty one`];
      return items === undefined ? [] : value.flatMap((one, at) => schemaFaults(one, items, `${path}[${at}]`));
    }
    case "object": {
      if (!isJsonObject(value)) return [`${path}: no object`];
      const { properties = {}, required = [] } = schema;
      return [
        ...required.filter((key) => !(key in value)).map((key) => `${path}.${key}: missing`),
        ...Object.entries(value).flatMap(([key, one]) => {
          const known = properties[key];
          return known === undefined ? [`${path}.${key}: unknown`] : schemaFaults(one, known, `${path}.${key}`);
        }),
      ];
    }
  }
  const isRight = schema.format === undefined || formats[schema.format]?.(String(value));
  return isRight === true ? [] : [`${path}: ${value} is no ${schema.format}`];
}

/** What a schema cannot say: indices point at interfaces, versions are those of the addresses, gateways of their family. */
function referenceFaults(result: Readonly<Record<string, unknown>>): readonly string[] {
  const { interfaces = [], ips = [] } = result as {
    readonly interfaces?: readonly unknown[];
    readonly ips?: readonly { address: string; gateway?: string; interface?: number; version?: string }[];
  };
  return ips.flatMap(({ address, gateway, interface: at = 0, version }) => {
    const family = tryParsePrefix(address)?.ip.family;
    const isOther = version !== undefined && version !== String(family);
    const isStrange = gateway !== undefined && tryParseIp(gateway)?.family !== family;
    const isNowhere = at !== 0 && at >= interfaces.length;
    return isOther || isStrange || isNowhere ? [`${address}: ${version} ${gateway} ${at}`] : [];
  });
}

/** How a call of a plugin ended, and by which configuration. */
interface Answered {
  readonly verb: string;
  /** What the plugin had on stdin. */
  readonly stdin: string;
  readonly exitCode: number | undefined;
  readonly stdout: string;
}

/** containerd takes an error of a DEL that has these words for success, and forgets the sandbox. */
export const takenForSuccess = /not found|no such file or directory/;

/** Asserts that a plugin's answer is one that the specification allows for the configuration's version. */
export function assertAnswer({ verb, stdin, exitCode, stdout }: Answered): void {
  const shown = `${verb}: ${stdout.slice(0, 2_000)}`;
  if (exitCode === 0 && verb !== "ADD" && verb !== "VERSION") {
    assert.equal(stdout, "", shown);
    return;
  }
  assert.ok(exitCode === 0 || exitCode === 1, `${exitCode} ${shown}`);
  const answer: unknown = JSON.parse(stdout);
  if (verb === "DEL") assert.doesNotMatch(stdout, takenForSuccess);
  assert.deepEqual(schemaFaults(answer, schemaOf(verb, stdin, exitCode)), [], shown);
  assert.deepEqual(referenceFaults(answer as Readonly<Record<string, unknown>>), [], shown);
}

function schemaOf(verb: string, stdin: string, exitCode: number): Schema {
  if (exitCode !== 0) return errorSchema;
  return verb === "VERSION" ? versionSchema : resultSchema(String(JSON.parse(stdin).cniVersion));
}
