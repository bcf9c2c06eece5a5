import { sentenceOf } from "#cni";
import type { Decision } from "#ipam";
import { formatTable } from "../output.ts";
import type { Diagnosis } from "./diagnose.ts";
import type { NicReport } from "./nic-report.ts";

/** Where every code has its anchor. */
const errorsPage = "docs/reference/errors.md";

/** A diagnosis as people read it: the cause, the NICs with their pools, what to do. Ends in a newline. */
export function formatDiagnosis({ pod, state, node, verdict, cause, nics, fixes, notes }: Diagnosis): string {
  const about = `Pod ${pod}${node === undefined ? "" : ` on ${node}`} (${state})`;
  const told = cause?.seenAt === undefined ? "" : `, told by its node at ${formatTime(cause.seenAt)}`;
  const lines = [
    ...(cause === undefined ? [`${about} ${verdicts[verdict]}`] : [cause.sentence, `  ${about}: ${cause.code}${told}`]),
    ...notes.map((note) => `  ${note}`),
    ...nics.flatMap((nic) => ["", ...nicLines(nic)]),
  ];
  if (cause !== undefined) {
    if (cause.advice !== "" || fixes.length > 0) lines.push("", "What to do:");
    if (cause.advice !== "") lines.push(`  ${cause.advice}`);
    for (const { text, command, node: where } of fixes) {
      lines.push(`  - ${text}`);
      if (command !== undefined) lines.push(`      ${command}${where === undefined ? "" : `   # on node ${where}`}`);
    }
    lines.push("", `See ${errorsPage}#${cause.code.toLowerCase()}`);
  }
  return `${lines.join("\n")}\n`;
}

const verdicts = {
  runs: "gets its networks",
  fails: "does not get its networks",
  unknown: "cannot be judged from here",
} as const;

function nicLines({ nic, network, managed, decisions, pools, problem }: NicReport): readonly string[] {
  const title = `${nic} from ${network}`;
  if (!managed && problem === undefined) return [`${title}: its addresses do not come from IPPools`];
  const said = problem === undefined ? [] : [`  ${sentenceOf(problem).message}`];
  const marks = { free: "✔", used: "✘", passed: "–" } as const;
  const rows = pools.map(({ pool, family, state, reason }) => [`  ${marks[state]} ${pool}`, `IPv${family}`, reason]);
  const table = rows.length === 0 ? [] : formatTable(rows).trimEnd().split("\n");
  return [`${title}${ruleOf(decisions)}`, ...(rows.length === 0 ? said : table)];
}

function ruleOf([first]: readonly Decision[]): string {
  return first === undefined ? "" : `, pools named by ${rules[first.rule]}`;
}

const rules: Readonly<Record<Decision["rule"], string>> = {
  subnet: "the annotation about subnets",
  ippools: "annotation ipam.spidernet.io/ippools",
  ippool: "annotation ipam.spidernet.io/ippool",
  namespace: "the Namespace's annotations",
  network: "the network's own configuration",
  default: "spec.default of the IPPools",
};

function formatTime(at: Date): string {
  return at.toISOString().replace(/\.\d+Z$/, "Z");
}

/** A diagnosis for programs: plain JSON, with sentences in the place of errors. */
export function diagnosisJson({ nics, ...diagnosis }: Diagnosis): unknown {
  return {
    ...diagnosis,
    nics: nics.map(({ problem, ...nic }) => ({
      ...nic,
      ...(problem !== undefined && { problem: sentenceOf(problem) }),
    })),
  };
}
