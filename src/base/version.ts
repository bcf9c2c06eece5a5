import packageJson from "../../package.json" with { type: "json" };

/** The version of the product, as its package, chart and image carry it. */
export const productVersion: string = packageJson.version;
