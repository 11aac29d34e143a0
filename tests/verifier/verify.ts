// Levels 1 and 2 of docs/receipt.md: without asking anybody.

import { keccak_256 } from "@noble/hashes/sha3.js";
import { Refused } from "./json.ts";
import { NAMES, fromHex, toHex, type Receipt, type Slot } from "./receipt.ts";
import { account, header, valueAt, word } from "./trie.ts";

/** What the verifier trusts. */
export type Policy = { chainId: bigint; contract: string; codeHash?: string; blockHashes: string[] };
export type Checked = { entryHash: Uint8Array; commitment: Uint8Array; peak: Uint8Array; peakHeight: number };
/** Nothing is wrong, and something is missing to tell. */
export class Undecided extends Error {}

const utf8 = new TextEncoder();
const MOST_ENTRIES = (1n << 32n) - 1n;

export function keccak(...parts: Uint8Array[]): Uint8Array {
  const hasher = keccak_256.create();
  for (const part of parts) hasher.update(part);
  return hasher.digest();
}
export const bytes = (...values: number[]) => Uint8Array.from(values);
export function u64(value: bigint): Uint8Array {
  return fromHex(`0x${value.toString(16).padStart(16, "0")}`);
}
export function u256(value: bigint): Uint8Array {
  return fromHex(`0x${value.toString(16).padStart(64, "0")}`);
}
const node = (prefix: number, left: Uint8Array, right: Uint8Array) => keccak(bytes(prefix), left, right);
const same = (a: Uint8Array, b: Uint8Array) => toHex(a) === toHex(b);

function commitment({ entry }: Receipt): Uint8Array {
  if (entry.kind === "erased") return entry.commitment;
  const digests = entry.fields.map((field, i) => {
    if (field.kind === "digest") return field.digest;
    const name = utf8.encode(NAMES[i]!);
    const salt = field.kind === "salted" ? field.salt : keccak(bytes(6), entry.seed!, name);
    return keccak(bytes(4), salt, bytes(0, name.length), name, utf8.encode(field.value));
  });
  return keccak(bytes(5), ...digests);
}

/** From the leaf to the root, by the recursive definition of RFC 6962. */
function rootOf(leaf: Uint8Array, index: bigint, size: bigint, path: Uint8Array[], prefix: number): Uint8Array {
  if (size === 1n) {
    if (path.length > 0) throw new Error("the path is too long");
    return leaf;
  }
  const sibling = path.at(-1);
  if (!sibling) throw new Error("the path is too short");
  let left = 1n;
  while (left * 2n < size) left *= 2n;
  const below = path.slice(0, -1);
  return index < left
    ? node(prefix, rootOf(leaf, index, left, below, prefix), sibling)
    : node(prefix, sibling, rootOf(leaf, index - left, size - left, below, prefix));
}

/** The perfect tree that covers a batch: the batches are cut from the left into powers of two. */
export function peakOf(index: bigint, batches: bigint): { first: bigint; height: number } {
  let first = 0n;
  for (let height = 63; height >= 0; height--) {
    const size = 1n << BigInt(height);
    if ((batches & size) === 0n) continue;
    if (index < first + size) return { first, height };
    first += size;
  }
  throw new Error("no such batch");
}

export function batchCommitment(tenantId: Uint8Array, batch: {
  index: bigint; firstSeq: bigint; count: bigint; root: Uint8Array; anchoredAt: bigint;
}): Uint8Array {
  const { index, firstSeq, count, root, anchoredAt } = batch;
  return keccak(bytes(2), tenantId, u64(index), u64(firstSeq), u64(count), root, u64(anchoredAt));
}

export function level1(receipt: Receipt): Checked {
  const demand = (holds: boolean, reason: string) => {
    if (!holds) throw new Refused("self-consistency", reason);
  };
  const { entry, tenantId, inclusion } = receipt;
  demand(entry.seq !== 0n || entry.previous.every((byte) => byte === 0), "something before the first entry");
  if (!inclusion) throw new Undecided("pending");
  const { index, firstSeq, count, root, position, path, batches, historyPath } = inclusion;
  demand(count >= 1n && count <= MOST_ENTRIES, "count");
  demand(entry.seq >= firstSeq && entry.seq - firstSeq < count, "the entry is not in the batch");
  demand(position === entry.seq - firstSeq, "position");
  const committed = commitment(receipt);
  const entryHash = keccak(bytes(0), tenantId, u64(entry.seq), entry.previous, committed);
  try {
    demand(same(rootOf(entryHash, position, count, path, 1), root), "the path leads to another root");
    const { first, height } = peakOf(index, batches);
    const leaf = batchCommitment(tenantId, inclusion);
    const peak = rootOf(leaf, index - first, 1n << BigInt(height), historyPath, 3);
    return { entryHash, commitment: committed, peak, peakHeight: height };
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused("self-consistency", String(error));
  }
}

function stored(slot: Slot, expected: Uint8Array, storageRoot: Uint8Array): bigint {
  if (!same(slot.slot, expected)) throw new Refused("proof", "another slot");
  const value = word(valueAt(storageRoot, keccak(expected), slot.proof));
  if (!same(u256(value), slot.value)) throw new Refused("proof", "another word is stored");
  return value;
}

/** Refuses another chain, contract or code. */
export function admit(receipt: Receipt, policy: Policy) {
  const { chainId, contract, codeHash } = receipt;
  if (chainId !== policy.chainId) throw new Refused("chain", `chain ${chainId}`);
  if (contract !== policy.contract) throw new Refused("contract", contract);
  if (policy.codeHash !== undefined && codeHash !== policy.codeHash) throw new Refused("codeHash", codeHash);
}

export function level2(receipt: Receipt, checked: Checked, policy: Policy) {
  admit(receipt, policy);
  const demand = (holds: boolean, reason: string) => {
    if (!holds) throw new Refused("proof", reason);
  };
  const { tenantId, inclusion } = receipt;
  const proof = inclusion?.proof;
  if (!inclusion || !proof) throw new Undecided("no storage proof");
  if (policy.codeHash === undefined || policy.blockHashes.length === 0) throw new Undecided("nothing is pinned");
  const hash = toHex(keccak(proof.header));
  demand(policy.blockHashes.includes(hash), "not a block that is pinned");
  const { stateRoot, number, timestamp } = header(proof.header);
  const { anchor, anchoredAt, batches, firstSeq, count, index } = inclusion;
  demand(number >= anchor.blockNumber && timestamp >= anchoredAt, "the block is from before the batch");
  if (number === anchor.blockNumber) {
    demand(hash === anchor.blockHash && timestamp === anchoredAt, "another block at the batch's height");
  }
  const contract = account(valueAt(stateRoot, keccak(fromHex(policy.contract)), proof.accountProof));
  demand(toHex(contract.codeHash) === policy.codeHash, "other code");

  const head = stored(proof.head, keccak(tenantId, u256(0n)), contract.storageRoot);
  const entries = head >> 200n;
  demand(((head >> 160n) & ((1n << 40n) - 1n)) === batches, "another number of batches");
  const end = firstSeq + count;
  demand(end <= entries && (index + 1n !== batches || end === entries), "entries");
  const inner = keccak(u256(BigInt(checked.peakHeight)), u256(1n));
  const peak = stored(proof.peak, keccak(tenantId, inner), contract.storageRoot);
  demand(same(u256(peak), checked.peak), "another peak");
}
