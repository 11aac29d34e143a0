// Level 3: what an RPC endpoint says.

import { createPublicClient, http, parseAbi, type Hex } from "viem";
import { Refused } from "./json.ts";
import { fromHex, toHex, type Receipt } from "./receipt.ts";
import {
  Undecided, admit, batchCommitment, bytes, keccak, level2, peakOf, u64, type Checked, type Policy,
} from "./verify.ts";

const ABI = parseAbi([
  "struct Entry { uint64 seq; bytes32 previous; bytes32 commitment; }",
  "struct Batch { uint64 batchIndex; uint64 firstSeq; uint64 count; bytes32 root; uint64 anchoredAt; }",
  "function verifyEntry(bytes32 tenantId, Entry entry, Batch batch, bytes32[] path, bytes32[] historyPath) view returns (bool)",
]);
const ANCHORED = toHex(
  keccak(new TextEncoder().encode("Anchored(bytes32,uint64,uint64,uint64,bytes32,uint64)")),
);

type Log = {
  address: Hex; topics: Hex[]; data: Hex; logIndex: Hex; blockNumber: Hex; blockHash: Hex;
};
type Batch = { index: bigint; firstSeq: bigint; count: bigint; root: Uint8Array; anchoredAt: bigint };

function decode(log: Log): { tenantId: string; batch: Batch } | undefined {
  if (log.topics[0] !== ANCHORED || log.topics.length !== 3 || log.data.length !== 2 + 4 * 64) return undefined;
  const word = (i: number) => `0x${log.data.slice(2 + 64 * i, 66 + 64 * i)}`;
  const batch = {
    index: BigInt(log.topics[2]!),
    firstSeq: BigInt(word(0)),
    count: BigInt(word(1)),
    root: fromHex(word(2)),
    anchoredAt: BigInt(word(3)),
  };
  return { tenantId: log.topics[1]!, batch };
}

function path(leaves: Uint8Array[], index: bigint): Uint8Array[] {
  const { first, height } = peakOf(index, BigInt(leaves.length));
  let level = leaves.slice(Number(first), Number(first) + 2 ** height);
  let at = Number(index - first);
  const siblings: Uint8Array[] = [];
  while (level.length > 1) {
    siblings.push(level[at ^ 1]!);
    level = level.flatMap((left, i) => (i % 2 === 0 ? [keccak(bytes(3), left, level[i + 1]!)] : []));
    at >>= 1;
  }
  return siblings;
}

export async function level3(receipt: Receipt, checked: Checked, policy: Policy, url: string, fromBlock: bigint) {
  admit(receipt, policy);
  const { tenantId, entry, inclusion } = receipt;
  if (!inclusion) throw new Undecided("pending");
  const client = createPublicClient({ transport: http(url) });
  const ask = (method: string, params: unknown[]) => client.request({ method, params } as never) as Promise<any>;
  if ((await client.getChainId()) !== Number(policy.chainId)) throw new Undecided("another chain");
  const contract = policy.contract as Hex;
  const code = fromHex((await client.getCode({ address: contract })) ?? "0x");
  if (policy.codeHash !== undefined && toHex(keccak(code)) !== policy.codeHash) throw new Undecided("other code");

  const { anchor } = inclusion;
  const mined = await ask("eth_getTransactionReceipt", [anchor.transaction]);
  if (!mined) throw new Refused("transaction", "no such transaction");
  const log = (mined.logs as Log[]).find(
    (it) => it.address.toLowerCase() === contract && BigInt(it.logIndex) === anchor.logIndex,
  );
  const event = log && decode(log);
  if (!log || !event) throw new Refused("event", "no such event");
  const claimed = toHex(batchCommitment(tenantId, inclusion));
  if (event.tenantId !== toHex(tenantId) || toHex(batchCommitment(tenantId, event.batch)) !== claimed) {
    throw new Refused("event", "the event is of another batch");
  }
  const block = await ask("eth_getBlockByNumber", [`0x${anchor.blockNumber.toString(16)}`, false]);
  if (
    BigInt(log.blockNumber) !== anchor.blockNumber || log.blockHash !== anchor.blockHash ||
    block?.hash !== anchor.blockHash
  ) {
    throw new Refused("block", "the event stands in another block");
  }
  if (inclusion.proof) {
    const hash = toHex(keccak(inclusion.proof.header));
    const known = await ask("eth_getBlockByHash", [hash, false]);
    const canonical = known && (await ask("eth_getBlockByNumber", [known.number, false]));
    if (canonical?.hash !== hash) throw new Refused("proof", "not a block of this chain");
    level2(receipt, checked, { ...policy, codeHash: toHex(keccak(code)), blockHashes: [hash] });
  }

  const confirmed = (historyPath: Uint8Array[]) =>
    client.readContract({
      address: contract, abi: ABI, functionName: "verifyEntry",
      args: [
        toHex(tenantId),
        { seq: entry.seq, previous: toHex(entry.previous), commitment: toHex(checked.commitment) },
        {
          batchIndex: inclusion.index, firstSeq: inclusion.firstSeq, count: inclusion.count,
          root: toHex(inclusion.root), anchoredAt: inclusion.anchoredAt,
        },
        inclusion.path.map(toHex), historyPath.map(toHex),
      ],
    });
  if (await confirmed(inclusion.historyPath)) return;
  const logs: Log[] = await ask("eth_getLogs", [{
    address: contract, topics: [ANCHORED, toHex(tenantId)], fromBlock: `0x${fromBlock.toString(16)}`, toBlock: "latest",
  }]);
  const leaves = logs.map((it, i) => {
    const found = decode(it);
    if (found?.batch.index !== BigInt(i)) throw new Undecided("the endpoint left out events");
    return batchCommitment(tenantId, found.batch);
  });
  const then = leaves.slice(0, Number(inclusion.batches));
  if (BigInt(then.length) !== inclusion.batches) throw new Refused("history", "more batches than there are");
  if (path(then, inclusion.index).map(toHex).join() !== inclusion.historyPath.map(toHex).join()) {
    throw new Refused("history", "the path never led to a peak");
  }
  if (!(await confirmed(path(leaves, inclusion.index)))) throw new Refused("verifyEntry", "the contract says no");
}
