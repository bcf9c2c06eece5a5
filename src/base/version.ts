import packageJson from "../../package.json" with { type: "json" };

/** The version of the product, which is that of its package, chart and image. */
export const productVersion: string = packageJson.version;
