import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { before, describe, it } from "node:test";
import { certificate, privateKey } from "../testing/certificate.ts";
import { type Issued, issue } from "./issue.ts";
import { authoritiesOf, forgetMs, type PlanOptions, planCertificates, trustMs } from "./plan.ts";

const host = "spiderpool-controller.kube-system.svc";
const names = [host, "10.0.0.1", "::1"];
const lifetimeMs = 90 * 86_400_000;
const now = new Date("2026-06-01T00:00:00Z");
const daysOn = (days: number) => new Date(now.getTime() + days * 86_400_000);

let a: Issued;
let b: Issued;
before(async () => {
  [a, b] = await Promise.all([issue({ names, lifetimeMs, now }), issue({ names, lifetimeMs, now: daysOn(61) })]);
});

const plan = (ca: string, current: Issued | undefined, next?: Issued, changes: Partial<PlanOptions> = {}) =>
  planCertificates({ ca, current, next }, { now, names, host, lifetimeMs, settledMs: 0, ...changes });

describe("issue()", () => {
  it("makes a server certificate for the names, that its authority and no other vouches for", () => {
    const cert = new X509Certificate(a.cert);
    assert.equal(cert.checkHost("spiderpool-controller.kube-system.svc"), names[0]);
    assert.equal(cert.checkIP("10.0.0.1"), "10.0.0.1");
    assert.equal(cert.checkHost("elsewhere"), undefined);
    assert.equal(cert.ca, false);
    assert.ok(new X509Certificate(a.ca).ca);
    assert.equal(authoritiesOf(b.ca + a.ca, a).trim(), a.ca.trim());
    assert.deepEqual([cert.keyUsage, new Date(cert.validTo)], [["1.3.6.1.5.5.7.3.1"], daysOn(90)]);
  });
});

describe("the plan of a certificate", () => {
  it("leaves one alone that is well, until a third of its life is left", () => {
    const secondMs = 1_000;
    const before = (ms: number) => ({ now: new Date(daysOn(60).getTime() - ms) });
    assert.deepEqual(plan(a.ca, a, undefined, before(secondMs)), { kind: "wait", ms: secondMs });
    assert.equal(plan(a.ca, a, undefined, { now: daysOn(60.1) }).kind, "prepare");
  });

  it("looks again every minute: the wall clock may jump, and a machine may be suspended for weeks", () => {
    assert.deepEqual(plan(a.ca, a), { kind: "wait", ms: 60_000 });
  });

  it("replaces at once what nobody can trust", () => {
    const why = (...args: Parameters<typeof plan>) => {
      const step = plan(...args);
      return step.kind === "replace" ? step.why : step.kind;
    };
    assert.match(why("", undefined), /there is none/);
    assert.match(why("", a), /no authority/);
    assert.match(why(b.ca, a), /no authority/);
    assert.match(why(a.ca, a, undefined, { now: daysOn(91) }), /expired/);
    assert.match(why(a.ca, a, undefined, { now: daysOn(-0.1) }), /not valid before/, "the clock was ahead, then set");
    assert.match(why(a.ca, { ...a, key: b.key }), /key is that of another/);
    assert.match(why(a.ca, { ...a, cert: "torn" }), /cannot be read/);
    assert.match(why(a.ca, { ...a, key: "torn" }), /cannot be read/);
    assert.match(why("torn", a), /no authority/);
    const other = { ca: certificate, cert: certificate, key: privateKey }; // for other names
    const then = { now: new Date(new X509Certificate(certificate).validFrom) };
    assert.match(why(certificate, other, undefined, then), /not for spiderpool-controller/);
  });

  it("replaces at once one for the name of another Service, as after the controller got another name", () => {
    const renamed = "underlay.kube-system.svc";
    const step = plan(a.ca, a, undefined, { host: renamed, names: [renamed] });
    assert.deepEqual(step, { kind: "replace", why: `it is not for ${renamed}` });
  });

  it("serves a prepared one only when its authority has been trusted long enough", () => {
    const at = (settledMs: number) => plan(a.ca + b.ca, a, b, { now: daysOn(61), settledMs });
    assert.deepEqual(at(0), { kind: "wait", ms: trustMs(lifetimeMs) });
    assert.equal(at(trustMs(lifetimeMs)).kind, "promote");
  });

  it("forgets the former authority only when nobody serves what it signed", () => {
    const at = (settledMs: number) => plan(a.ca + b.ca, b, undefined, { now: daysOn(61), settledMs });
    assert.deepEqual(at(0), { kind: "wait", ms: forgetMs(lifetimeMs) });
    assert.equal(at(forgetMs(lifetimeMs)).kind, "forget");
  });

  it("prepares another one where the prepared one is of no use", () => {
    assert.equal(plan(a.ca, a, b, { now: daysOn(61), settledMs: lifetimeMs }).kind, "prepare");
    assert.equal(plan(a.ca + b.ca, a, { ...b, key: a.key }, { now: daysOn(61) }).kind, "prepare");
  });

  it("renews one that lacks a name, or lives longer than it is to", () => {
    const step = plan(a.ca, a, undefined, { names: [...names, "new.example.org"] });
    assert.ok(step.kind === "prepare" && /not for new\.example\.org/.test(step.why));
    const shorter = plan(a.ca, a, undefined, { lifetimeMs: 7 * 86_400_000 });
    assert.ok(shorter.kind === "prepare" && /lives longer/.test(shorter.why));
  });
});
