import assert from "node:assert/strict";
import { it } from "node:test";
import type { Logger } from "#base";
import { IgnoredKeys } from "./ignored-keys.ts";

it("keys of an ipam block that have no effect are told once for each network, and those of other plugins never", () => {
  const told: unknown[] = [];
  const keys = new IgnoredKeys({ warn: (fields: unknown) => told.push(fields) } as unknown as Logger);
  const see = (name: string, ipam: object) =>
    keys.see({ cniVersion: "1.0.0", name, type: "macvlan", raw: { name, type: "macvlan", ipam } as never });
  const logged = { log_level: "DEBUG", log_file_path: "/var/log/spidernet/spiderpool.log", log_file_max_size: 100 };
  see("a", { type: "spiderpool", ...logged, default_ipv4_ippool: ["p"], clean_gateway: true });
  see("a", { type: "spiderpool", ...logged });
  see("b", { type: "spiderpool", ipam_unix_socket_path: "/run/x.sock" });
  see("c", { type: "whereabouts", log_level: "debug", log_file: "/tmp/w.log" });
  see("d", { type: "spiderpool", match_master_subnet: true });
  assert.deepEqual(told, [
    { network: "a", keys: ["log_level", "log_file_path", "log_file_max_size"] },
    { network: "b", keys: ["ipam_unix_socket_path"] },
  ]);
});
