import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseLabelSelector } from "../selectors.ts";
import type { KubeObject } from "../types.ts";
import { formatDuration } from "./age.ts";
import { builtinColumns } from "./columns.ts";
import { parsePath } from "./path.ts";

void describe("formatDuration", () => {
  const [minute, hour, day] = [60, 3600, 86400];
  const rows: [number, string][] = [
    [0, "0s"],
    [119, "119s"],
    [2 * minute, "2m"],
    [5 * minute + 3, "5m3s"],
    [179 * minute + 59, "179m"],
    [3 * hour + 5 * minute, "3h5m"],
    [47 * hour, "47h"],
    [2 * day + 4 * hour, "2d4h"],
    [9 * day + hour, "9d"],
    [2 * 365 * day + 5 * day, "2y5d"],
    [-5, "<invalid>"],
  ];
  for (const [seconds, text] of rows) {
    void it(`writes ${seconds} s as ${text}`, () => assert.equal(formatDuration(seconds * 1000), text));
  }
});

void describe("parsePath", () => {
  const rows: [string, (string | number)[]][] = [
    [".a.b[0].c", ["a", "b", 0, "c"]],
    [".a['b\\.c']", ["a", "b.c"]],
    [".a.b\\.c", ["a", "b.c"]],
  ];
  for (const [path, steps] of rows) void it(`reads ${path}`, () => assert.deepEqual(parsePath(path), steps));
  for (const path of ["..a", ".list[*].v", '.list[?(@.type=="B")].v']) {
    void it(`refuses ${path}`, () => assert.throws(() => parsePath(path), { code: "LAB_BAD_CRD" }));
  }
});

void describe("parseLabelSelector", () => {
  const labels = { app: "web", "a.b/c": "1", n: "5" };
  for (const text of [
    "",
    "app=web",
    "app==web,n",
    "app!=db",
    "x!=1",
    "app in (db, web)",
    "x notin (1,2)",
    "!x",
    "a.b/c=1",
  ]) {
    void it(`matches with "${text}"`, () => assert.equal(parseLabelSelector(text)(labels), true));
  }
  for (const text of ["app=db", "app!=web", "app in (a,b),n", "app notin (web)", "!app", "x", "app=web,x"]) {
    void it(`does not match with "${text}"`, () => assert.equal(parseLabelSelector(text)(labels), false));
  }
  void it("refuses what it cannot read", () => assert.throws(() => parseLabelSelector("a in b"), { status: 400 }));
});

void describe("the Pod's STATUS column", () => {
  const status = (fields: object, metadata: object = {}) => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata,
      spec: { containers: [{}] },
      status: fields,
    };
    const column = builtinColumns["pods"]?.find(({ name }) => name === "Status");
    return column?.cell(pod as unknown as KubeObject, 0);
  };
  const waiting = (reason: string) => ({ state: { waiting: { reason } } });
  const ended = { state: { terminated: { exitCode: 0, reason: "Completed" } } };
  const rows: [string, object, object?][] = [
    ["Pending", { phase: "Pending" }],
    ["ContainerCreating", { phase: "Pending", containerStatuses: [waiting("ContainerCreating")] }],
    ["Running", { phase: "Running", containerStatuses: [{ ready: true, state: { running: {} } }] }],
    ["CrashLoopBackOff", { phase: "Running", containerStatuses: [waiting("CrashLoopBackOff")] }],
    ["Completed", { phase: "Succeeded", containerStatuses: [ended] }],
    ["Error", { phase: "Failed", containerStatuses: [{ state: { terminated: { exitCode: 1, reason: "Error" } } }] }],
    ["Terminating", { phase: "Running" }, { deletionTimestamp: "2026-01-01T00:00:00Z" }],
  ];
  for (const [text, fields, metadata] of rows) {
    void it(`says ${text}`, () => assert.equal(status(fields, metadata), text));
  }
});
