const hidden = "REDACTED";
/** Names of fields, variables and options that may contain credentials. */
const sensitive =
  /token|passw|passphrase|secret(-?access)?(-?key)?$|credential|private|api-?key|client-?key|key-?data|[.]key$|authorization|^data$|^stringData$|caBundle/i;
const dropped = new Set(["managedFields", "kubectl.kubernetes.io/last-applied-configuration"]);
/** An option whose value is the next word of the command line. */
const bareOption = /^--?[\w.-]+$/;

/**
 * A copy without credentials: without texts under such names, values of environment variables and options, and last-applied
 * manifests; and without private keys, tokens, passwords in URLs and values after such names in any other text. Pure.
 */
export function redact(value: unknown, name = "", parent = ""): unknown {
  if (Array.isArray(value)) {
    return value.map((one, at) => (isOptionsValue(value[at - 1], one) ? hidden : redact(one, name, parent)));
  }
  if (typeof value === "object" && value !== null) {
    if (/^(data|stringData)$/.test(name)) return hidden;
    const entries = Object.entries(value).filter(([key]) => !dropped.has(key));
    return Object.fromEntries(entries.map(([key, one]) => [key, redact(one, key, name)]));
  }
  if (typeof value !== "string" || value === "") return value;
  if (sensitive.test(name) || (parent === "env" && name === "value")) return hidden;
  return redactText(value);
}

function isOptionsValue(before: unknown, value: unknown): boolean {
  return typeof value === "string" && typeof before === "string" && bareOption.test(before) && sensitive.test(before);
}

/** Configurations are JSON inside a text. */
function redactText(text: string): string {
  if (/^\s*[{[]/.test(text)) {
    try {
      return JSON.stringify(redact(JSON.parse(text)));
    } catch {
      // Not JSON after all.
    }
  }
  return texts.reduce((rest, [pattern, replacement]) => rest.replaceAll(pattern, replacement), text);
}

const named =
  /((?:token|passw|passphrase|secret|credential|private|api-?key|client-?key|key-?data|authorization)[\w.-]{0,50}["']?\s{0,9}[:=]\s{0,9})/;

/** Each takes linear time, because texts that others write may be long. */
const texts: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [^-]*PRIVATE KEY-----.*?(-----END [^-]*PRIVATE KEY-----|$)/gs, hidden],
  // A JSON Web Token begins with the base64 of `{"`.
  [/\beyJ[\w-]{8,}(\.[\w-]*)*/g, hidden],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, `$1 ${hidden}`],
  [/(:\/\/)[^\s/@]{1,500}@/g, `$1${hidden}@`],
  // In quotation marks it stays in them, so that a line of JSON is still one.
  [new RegExp(`${named.source}"(?:[^"\\\\]|\\\\.)*"`, "gis"), `$1"${hidden}"`],
  [new RegExp(`${named.source}(?!"${hidden}")("[^"]*|'[^']*'|\\S+)`, "gi"), `$1${hidden}`],
];
