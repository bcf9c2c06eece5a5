interface RunFolder {
  readonly path: string;
  readonly remove: () => void;
}

export function makeRunFolder(base?: string): RunFolder;
export function makeLastingFolder(): RunFolder;
