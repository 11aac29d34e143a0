// As much of Node.js as is used here, so that its types need not be installed.

declare module "node:fs" {
  export function readFileSync(path: string): Uint8Array;
  export function readFileSync(path: string, encoding: "utf8"): string;
}
declare module "node:readline" {
  export function createInterface(options: { input: unknown }): AsyncIterable<string>;
}
declare const process: { argv: string[]; stdin: unknown; exitCode?: number };
declare const Buffer: { from(text: string, encoding: "base64"): Uint8Array };
