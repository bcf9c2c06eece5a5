// Where the API server keeps objects of our kinds.

export const claimTable = "spiderpool.spidernet.io/spideripaddresses";
export const poolTable = "spiderpool.spidernet.io/spiderippools";
export const subnetTable = "spiderpool.spidernet.io/spidersubnets";
