const hidden = "REDACTED";
/** Names of fields whose text may let somebody in. */
const sensitive = /token|passw|secret$|credential|private|apikey|authorization|^data$|^stringData$|caBundle/i;
const dropped = new Set(["managedFields", "kubectl.kubernetes.io/last-applied-configuration"]);

/** A copy without what may let somebody in: texts under such names, values of environment variables, applied copies. Pure. */
export function redact(value: unknown, name = "", parent = ""): unknown {
  if (Array.isArray(value)) return value.map((one) => redact(one, name, parent));
  if (typeof value === "object" && value !== null) {
    if (/^(data|stringData)$/.test(name)) return hidden;
    const entries = Object.entries(value).filter(([key]) => !dropped.has(key));
    return Object.fromEntries(entries.map(([key, one]) => [key, redact(one, key, name)]));
  }
  if (typeof value !== "string" || value === "") return value;
  if (sensitive.test(name) || (parent === "env" && name === "value")) return hidden;
  return redactText(value);
}

/** Configurations are JSON within a text. */
function redactText(text: string): string {
  if (!/^\s*\{/.test(text)) return text;
  try {
    return JSON.stringify(redact(JSON.parse(text)));
  } catch {
    return text;
  }
}
