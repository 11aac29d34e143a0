// Starts main.ts on any Node.js from 20 on, also one that cannot strip types by itself.
//   node tests/verifier/run.mjs receipt.json --policy verifier.json [--rpc-url URL]
//   node tests/verifier/run.mjs --lines          requests and answers as lines of JSON
import { register } from "node:module";

register("./typescript.mjs", import.meta.url);
await import("./main.ts");
