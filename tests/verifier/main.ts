// A second verifier of receipts, which shares no code with the first. Exit codes: 0 valid, 1 invalid, 2 cannot
// tell. The last line of standard output is one JSON object.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { level3 } from "./chain.ts";
import { Refused } from "./json.ts";
import { readReceipt, toHex } from "./receipt.ts";
import { Undecided, level1, level2, type Policy } from "./verify.ts";

type Answer =
  | { valid: true; level: number; entryHash: string }
  | { valid: false; check: string; reason: string }
  | { valid: null; reason: string };
type Endpoint = { url: string; fromBlock: bigint };

async function judge(bytes: Uint8Array, policy: Policy, endpoint?: Endpoint): Promise<Answer> {
  try {
    const receipt = readReceipt(bytes);
    const checked = level1(receipt);
    const entryHash = toHex(checked.entryHash);
    let level = 2;
    try {
      level2(receipt, checked, policy);
    } catch (error) {
      if (!(error instanceof Undecided) || !endpoint) throw error;
    }
    if (endpoint) {
      await level3(receipt, checked, policy, endpoint.url, endpoint.fromBlock);
      level = 3;
    }
    return { valid: true, level, entryHash };
  } catch (error) {
    if (error instanceof Refused) return { valid: false, check: error.check, reason: error.message };
    return { valid: null, reason: String(error) };
  }
}

/** The verifier's own file; it is not hostile. */
function readPolicy(text: string): { policy: Policy; url?: string; fromBlock: bigint } {
  const { chainId, contract, codeHash, blockHashes, rpcUrl, fromBlock } = JSON.parse(text);
  const policy = {
    chainId: BigInt(chainId),
    contract: contract.toLowerCase(),
    codeHash: codeHash?.toLowerCase(),
    blockHashes: (blockHashes ?? []).map((hash: string) => hash.toLowerCase()),
  };
  return { policy, url: rpcUrl, fromBlock: BigInt(fromBlock ?? 0) };
}

/** Lines `{"policy", "receipt"}`, the receipt in base64, each answered by a line, in order. */
async function lines() {
  const policies = new Map<string, Policy>();
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const text = JSON.stringify(request.policy);
    const policy = policies.get(text) ?? readPolicy(text).policy;
    policies.set(text, policy);
    console.log(JSON.stringify(await judge(Buffer.from(request.receipt, "base64"), policy)));
  }
}

async function main(args: string[]) {
  if (args[0] === "--lines") return lines();
  const option = (name: string) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
  const [file, policyFile] = [args[0], option("--policy")];
  if (!file || !policyFile) {
    console.error("usage: run.mjs RECEIPT --policy FILE [--rpc-url URL]");
    process.exitCode = 2;
    return;
  }
  const { policy, url: named, fromBlock } = readPolicy(readFileSync(policyFile, "utf8"));
  const url = option("--rpc-url") ?? named;
  const answer = await judge(readFileSync(file), policy, url ? { url, fromBlock } : undefined);
  console.log(JSON.stringify(answer));
  process.exitCode = answer.valid === null ? 2 : answer.valid ? 0 : 1;
}

await main(process.argv.slice(2));
