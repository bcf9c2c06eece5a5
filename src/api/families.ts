/** The address families that the cluster uses: `enableIPv4` and `enableIPv6` of the configuration. */
export interface Families {
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
}

/** Dual stack. */
export const bothFamilies: Families = { enableIPv4: true, enableIPv6: true };
