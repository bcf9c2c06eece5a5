import { isolated } from "../../src/linux/testing/isolated.ts";
import { kinds } from "./kinds.ts";
import { tryTraffic } from "./suite.ts";

if (isolated(import.meta.url)) tryTraffic(kinds.ovs);
