/** The series of a scrape by name and declared labels, without the labels that name the program. */
export function seriesOf(text: string): ReadonlyMap<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      const series = line.slice(0, at).replace(/,?otel_scope_name="[^"]*",otel_scope_version="[^"]*"/, "");
      return [series.replace("{}", ""), Number(line.slice(at + 1))];
    }),
  );
}
