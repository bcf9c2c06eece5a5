import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CniError } from "#cni";
import { parseIp } from "#ip";
import { bondOptionNames } from "#linux";
import { parseBondOptions } from "./options.ts";

const everyNumber =
  "ad_actor_sys_prio ad_select ad_user_port_key all_slaves_active arp_interval arp_validate arp_all_targets downdelay " +
  "up_delay fail_over_mac lacp_rate miimon min_links packets_per_slave primary_reselect tlb_dynamic_lb use_carrier " +
  "xmit_hash_policy lp_interval resend_igmp peer_notif_delay num_peer_notif updelay";

describe("the options of a bond", () => {
  it("are numbers for most keys, zero among them, and every key is one that the kernel's bonds have", () => {
    for (const key of everyNumber.split(" ")) {
      const { values, ignored } = parseBondOptions(`${key}=0`);
      assert.deepEqual(Object.values(values), [0], key);
      assert.deepEqual(ignored, []);
      for (const name of Object.keys(values)) assert.ok(bondOptionNames.includes(name), name);
    }
  });

  it("name interfaces, a MAC address and ARP targets", () => {
    const { values, links } = parseBondOptions(
      'primary=ens1; active_slave = ens2 ;ad_actor_system=02:00:00:00:00:0A;arp_ip_target=["10.0.0.1","10.0.0.2"]',
    );
    assert.deepEqual(links, { primary: "ens1", active_slave: "ens2" });
    assert.deepEqual(values, {
      ad_actor_system: "02:00:00:00:00:0a",
      arp_ip_target: [parseIp("10.0.0.1"), parseIp("10.0.0.2")],
    });
    assert.deepEqual(parseBondOptions("arp_ip_target=10.0.0.1").values["arp_ip_target"], [parseIp("10.0.0.1")]);
  });

  it("may be the kernel's words", () => {
    assert.deepEqual(parseBondOptions("lacp_rate=fast;xmit_hash_policy=layer3+4;fail_over_mac=active").values, {
      lacp_rate: 1,
      xmit_hash_policy: 1,
      fail_over_mac: 1,
    });
  });

  it("may be empty, begin and end with a semicolon, and have keys that mean nothing", () => {
    for (const text of ["", ";", " ; ;"])
      assert.deepEqual(parseBondOptions(text), { values: {}, links: {}, ignored: [] });
    assert.deepEqual(parseBondOptions(";miimon=100;shiny=1;"), {
      values: { miimon: 100 },
      links: {},
      ignored: ["shiny"],
    });
  });

  it("are refused by the item that is wrong", () => {
    for (const [item, message] of [
      ["miimon", "failed to convert options to BondOptions"],
      ["=1", "failed to convert options to BondOptions"],
      ["miimon=", "failed to convert options to BondOptions"],
      ["miimon=1=2", "failed to convert options to BondOptions"],
      ["miimon=often", "failed to convert options to BondOptions"],
      ["miimon=-1", "failed to convert options to BondOptions"],
      ["lacp_rate=faster", "failed to convert options to BondOptions"],
      ["ad_actor_system=nonsense", "invalid bond ad_actor_system"],
      ["arp_ip_target=nonsense", "invalid bond arp_ip_target"],
      ["arp_ip_target=[]", "invalid bond arp_ip_target"],
      ['arp_ip_target=["fd00::1"]', "invalid bond arp_ip_target"],
      ["arp_ip_target=[", "invalid bond arp_ip_target"],
    ] as const) {
      assert.throws(
        () => parseBondOptions(`updelay=1;${item}`),
        (error) => error instanceof CniError && error.message === message && error.details["value"] === item,
        item,
      );
    }
  });
});
