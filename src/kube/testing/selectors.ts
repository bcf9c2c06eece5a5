type Json = Readonly<Record<string, unknown>>;

/** `a=b,c!=d,e,!f,g in (h,i),j notin (k)` on labels. */
export function matchesLabels(selector: string, labels: Readonly<Record<string, string>>): boolean {
  return splitTerms(selector).every((term) => {
    const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term);
    if (set !== null) {
      const [, key = "", operator, list = ""] = set;
      const found = list.split(",").some((value) => value.trim() === labels[key]);
      return operator === "in" ? found : !found;
    }
    const equality = /^([^!=]+?)\s*(==|=|!=)\s*(.*)$/.exec(term);
    if (equality !== null) {
      const [, key = "", operator, value] = equality;
      return (labels[key] === value) === (operator !== "!=");
    }
    return term.startsWith("!") ? labels[term.slice(1)] === undefined : labels[term] !== undefined;
  });
}

/** `spec.nodeName=n1,metadata.name!=x` on any path of strings. */
export function matchesFields(selector: string, object: Json): boolean {
  return splitTerms(selector).every((term) => {
    const [, path = "", operator, value = ""] = /^([^!=]+?)(==|=|!=)(.*)$/.exec(term) ?? [];
    let at: unknown = object;
    for (const key of path.split(".")) at = typeof at === "object" && at !== null ? (at as Json)[key] : undefined;
    return (String(at ?? "") === value) === (operator !== "!=");
  });
}

/** Splits at commas outside parentheses. */
function splitTerms(selector: string): readonly string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== "");
}
