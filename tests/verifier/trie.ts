// RLP, a block's header, and the way from a root to a value of a Merkle Patricia trie.

import { keccak_256 } from "@noble/hashes/sha3.js";
import { Refused } from "./json.ts";
import { toHex } from "./receipt.ts";

const refuse = (reason: string): never => {
  throw new Refused("proof", reason);
};

type Item = { list: boolean; payload: Uint8Array; whole: Uint8Array; end: number };

/** The item that begins at `at`; only the one shortest spelling is taken. */
function item(bytes: Uint8Array, at: number): Item {
  const first = bytes[at] ?? refuse("RLP ends too early");
  const done = (list: boolean, from: number, length: number): Item => {
    const end = from + length;
    if (end > bytes.length) refuse("RLP ends too early");
    return { list, payload: bytes.subarray(from, end), whole: bytes.subarray(at, end), end };
  };
  if (first < 0x80) return done(false, at, 1);
  const list = first >= 0xc0;
  const short = first - (list ? 0xc0 : 0x80);
  if (short <= 55) {
    const it = done(list, at + 1, short);
    if (!list && short === 1 && it.payload[0]! < 0x80) refuse("RLP of a byte that stands for itself");
    return it;
  }
  const digits = short - 55;
  let length = 0;
  for (let i = 0; i < digits; i++) {
    length = length * 256 + (bytes[at + 1 + i] ?? refuse("RLP ends too early"));
  }
  if (bytes[at + 1] === 0 || length < 56 || !Number.isSafeInteger(length)) refuse("RLP length");
  return done(list, at + 1 + digits, length);
}

/** The items of the one list that these bytes are. */
function list(bytes: Uint8Array, most = Infinity): Item[] {
  const whole = item(bytes, 0);
  if (!whole.list || whole.end !== bytes.length) refuse("not one RLP list");
  const items: Item[] = [];
  for (let at = 0; at < whole.payload.length && items.length < most; ) {
    const next = item(whole.payload, at);
    items.push(next);
    at = next.end;
  }
  return items;
}

function string(it: Item | undefined, bytes?: number): Uint8Array {
  if (!it || it.list) return refuse("RLP string expected");
  if (bytes !== undefined && it.payload.length !== bytes) refuse(`${bytes} bytes expected`);
  return it.payload;
}

export function integer(bytes: Uint8Array, most: number): bigint {
  if (bytes.length > most || bytes[0] === 0) refuse("integer expected");
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export type Header = { stateRoot: Uint8Array; number: bigint; timestamp: bigint };

export function header(raw: Uint8Array): Header {
  // Items after the fifteenth belong to later forks.
  const items = list(raw, 15);
  if (items.length < 15) refuse("a header has at least 15 items");
  items.forEach((it) => string(it));
  return {
    stateRoot: string(items[3], 32),
    number: integer(string(items[8]), 8),
    timestamp: integer(string(items[11]), 8),
  };
}

export function account(raw: Uint8Array): { storageRoot: Uint8Array; codeHash: Uint8Array } {
  const items = list(raw);
  if (items.length !== 4) refuse("an account has four items");
  integer(string(items[0]), 8);
  integer(string(items[1]), 32);
  return { storageRoot: string(items[2], 32), codeHash: string(items[3], 32) };
}

/** A word of storage, from the RLP under its key. */
export function word(raw: Uint8Array): bigint {
  const it = item(raw, 0);
  if (it.end !== raw.length) refuse("not one RLP item");
  return integer(string(it), 32);
}

const same = (a: Uint8Array, b: Uint8Array) => toHex(a) === toHex(b);

/** The value under a hashed key; the proof has exactly the nodes on the way, from the root down. */
export function valueAt(root: Uint8Array, key: Uint8Array, proof: Uint8Array[]): Uint8Array {
  const nibbles = [...key].flatMap((byte) => [byte >> 4, byte & 15]);
  let walked = 0;
  let named = root;
  for (const [at, raw] of proof.entries()) {
    if (!same(keccak_256(raw), named)) refuse(`node ${at} is not the one that is named`);
    const items = list(raw);
    let child: Item | undefined;
    if (items.length === 17) {
      const nibble = nibbles[walked++] ?? refuse("the key ends in a branch");
      child = items[nibble];
    } else if (items.length === 2) {
      const [first, ...rest] = string(items[0]);
      if (first === undefined || first >> 4 > 3) return refuse("no such kind of node");
      const odd = (first & 0x10) !== 0;
      if (!odd && (first & 15) !== 0) refuse("padding that is not zero");
      const part = [...(odd ? [first & 15] : []), ...rest.flatMap((byte) => [byte >> 4, byte & 15])];
      const leaf = (first & 0x20) !== 0;
      const here = nibbles.slice(walked, walked + part.length);
      if (here.join() !== part.join()) refuse("nothing is stored under this key");
      walked += part.length;
      if (leaf) {
        if (walked !== nibbles.length) refuse("nothing is stored under this key");
        if (at + 1 < proof.length) refuse("nodes follow the value");
        return string(items[1]);
      }
      child = items[1];
    } else {
      return refuse("a node has 2 or 17 items");
    }
    // A child of fewer than 32 bytes would stand in place; none on the way to a value of ours does.
    named = string(child, 32);
  }
  return refuse("the value's node is missing");
}
