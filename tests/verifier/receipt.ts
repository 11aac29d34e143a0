// The members of a receipt, version 1, as docs/receipt.md says.

import { Numeral, Refused, parse, type Json } from "./json.ts";

export const NAMES = [
  "action", "actor", "external_id", "occurred_at", "payload", "policy_version", "reason", "recorded_at",
  "resource", "result",
];
const STATES = ["pending", "included", "safe", "final"];
const MAY_LACK = ["batch", "position", "path", "history", "anchor", "proofBlock"];
const MOST_BYTES = 8 * 1024 * 1024;

export type Field =
  | { kind: "value"; value: string }
  | { kind: "salted"; value: string; salt: Uint8Array }
  | { kind: "digest"; digest: Uint8Array };
export type Entry = { seq: bigint; previous: Uint8Array } & (
  | { kind: "fields"; seed?: Uint8Array; fields: Field[] }
  | { kind: "erased"; commitment: Uint8Array }
);
export type Slot = { slot: Uint8Array; value: Uint8Array; proof: Uint8Array[] };
export type Anchor = { transaction: string; logIndex: bigint; blockNumber: bigint; blockHash: string };
export type Inclusion = {
  index: bigint; firstSeq: bigint; count: bigint; root: Uint8Array; anchoredAt: bigint;
  position: bigint; path: Uint8Array[];
  batches: bigint; historyPath: Uint8Array[];
  anchor: Anchor;
  proof?: { header: Uint8Array; accountProof: Uint8Array[]; head: Slot; peak: Slot };
};
export type Receipt = {
  state: string; chainId: bigint; contract: string; codeHash: string; tenantId: Uint8Array;
  entry: Entry; inclusion?: Inclusion;
};

const refuse = (reason: string): never => {
  throw new Refused("format", reason);
};

/** An object with these members, those in `optional` perhaps, and no other. */
function members(json: Json | undefined, required: string[], optional: string[] = []): Map<string, Json> {
  if (!(json instanceof Map)) return refuse("an object expected");
  for (const name of required) if (!json.has(name)) refuse(`${name} is missing`);
  for (const name of json.keys()) {
    if (!required.includes(name) && !optional.includes(name)) refuse(`unknown member ${name}`);
  }
  return json;
}
function string(json: Json | undefined): string {
  return typeof json === "string" ? json : refuse("a string expected");
}
function array(json: Json | undefined, most = Infinity): Json[] {
  if (!Array.isArray(json)) return refuse("an array expected");
  return json.length > most ? refuse("too many items") : json;
}
function integer(json: Json | undefined): bigint {
  const text = string(json);
  if (!/^(0|[1-9][0-9]{0,19})$/.test(text)) refuse("a decimal integer expected");
  const number = BigInt(text);
  return number < 1n << 64n ? number : refuse("beyond 64 bits");
}
function hex(json: Json | undefined, bytes?: number): Uint8Array {
  const text = string(json);
  if (!/^0x[0-9a-f]*$/.test(text) || text.length % 2 !== 0) refuse("lowercase hex expected");
  if (bytes !== undefined && text.length !== 2 + 2 * bytes) refuse(`${bytes} bytes expected`);
  return fromHex(text);
}
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array((text.length - 2) / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 + 2 * i, 4 + 2 * i), 16);
  return bytes;
}
export function toHex(bytes: Uint8Array): `0x${string}` {
  return `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
const hash = (json: Json | undefined) => hex(json, 32);
const path = (json: Json | undefined) => array(json, 64).map(hash);

function bounded(json: Json | undefined, most: number): Uint8Array {
  const bytes = hex(json);
  return bytes.length > most ? refuse("too many bytes") : bytes;
}
const nodes = (json: Json | undefined) => array(json, 65).map((node) => bounded(node, 1024));

function slot(json: Json | undefined): Slot {
  const it = members(json, ["slot", "value", "proof"]);
  return { slot: hash(it.get("slot")), value: hash(it.get("value")), proof: nodes(it.get("proof")) };
}

function entry(json: Json | undefined): Entry {
  const it = members(json, ["seq", "previous", "erased"], ["seed", "fields", "commitment"]);
  const base = { seq: integer(it.get("seq")), previous: hash(it.get("previous")) };
  const erased = array(it.get("erased")).map(string);
  for (const [i, name] of erased.entries()) {
    if (!NAMES.includes(name)) refuse(`no field ${name}`);
    if (i > 0 && erased[i - 1]! >= name) refuse("erased fields once and in order");
  }
  const seed = it.has("seed") ? hash(it.get("seed")) : undefined;
  if (it.has("commitment")) {
    const commitment = hash(it.get("commitment"));
    if (it.has("fields") || seed || erased.length !== NAMES.length) refuse("a commitment stands alone");
    return { ...base, kind: "erased", commitment };
  }
  const fields = members(it.get("fields"), NAMES);
  if (seed && erased.length > 0) refuse("erased fields beside the seed");
  const read = (name: string): Field => {
    const field = members(fields.get(name), [], ["value", "salt", "digest"]);
    const has = ["value", "salt", "digest"].filter((member) => field.has(member)).join();
    if (seed) {
      return has === "value" ? { kind: "value", value: string(field.get("value")) } : refuse(`${name}: ${has}`);
    }
    if (has === "digest") return { kind: "digest", digest: hash(field.get("digest")) };
    if (has !== "value,salt" || erased.includes(name)) refuse(`${name}: ${has}`);
    return { kind: "salted", value: string(field.get("value")), salt: hash(field.get("salt")) };
  };
  return { ...base, kind: "fields", seed, fields: NAMES.map(read) };
}

export function readReceipt(bytes: Uint8Array): Receipt {
  if (bytes.length > MOST_BYTES) refuse("too long");
  const it = members(
    parse(bytes),
    ["format", "version", "state", "lacks", "chainId", "contract", "codeHash", "tenantId", "entry"],
    MAY_LACK,
  );
  const version = it.get("version");
  if (it.get("format") !== "cofferdam-receipt") refuse("another format");
  if (!(version instanceof Numeral) || version.text !== "1") refuse("another version");
  const state = string(it.get("state"));
  if (!STATES.includes(state)) refuse("no such state");
  const lacks = array(it.get("lacks")).map(string);
  const absent = MAY_LACK.filter((name) => !it.has(name));
  if (lacks.length !== absent.length || lacks.some((name, i) => name !== absent[i])) refuse("lacks");
  for (const name of MAY_LACK) {
    const may = name === "proofBlock" ? state === "final" || !it.has(name) : it.has(name) === (state !== "pending");
    if (!may) refuse(`${state} and ${name}`);
  }
  const tenantId = hash(it.get("tenantId"));
  if (tenantId.subarray(0, 12).some((byte) => byte !== 0) || tenantId.every((byte) => byte === 0)) {
    refuse("no tenant has this id");
  }
  const receipt: Receipt = {
    state,
    chainId: integer(it.get("chainId")),
    contract: toHex(hex(it.get("contract"), 20)),
    codeHash: toHex(hash(it.get("codeHash"))),
    tenantId,
    entry: entry(it.get("entry")),
  };
  if (state === "pending") return receipt;

  const batch = members(it.get("batch"), ["index", "firstSeq", "count", "root", "anchoredAt"]);
  const history = members(it.get("history"), ["batches", "path"]);
  const anchor = members(it.get("anchor"), ["transaction", "logIndex", "blockNumber", "blockHash"]);
  receipt.inclusion = {
    index: integer(batch.get("index")),
    firstSeq: integer(batch.get("firstSeq")),
    count: integer(batch.get("count")),
    root: hash(batch.get("root")),
    anchoredAt: integer(batch.get("anchoredAt")),
    position: integer(it.get("position")),
    path: path(it.get("path")),
    batches: integer(history.get("batches")),
    historyPath: path(history.get("path")),
    anchor: {
      transaction: toHex(hash(anchor.get("transaction"))),
      logIndex: integer(anchor.get("logIndex")),
      blockNumber: integer(anchor.get("blockNumber")),
      blockHash: toHex(hash(anchor.get("blockHash"))),
    },
  };
  if (it.has("proofBlock")) {
    const proof = members(it.get("proofBlock"), ["header", "accountProof", "head", "peak"]);
    receipt.inclusion.proof = {
      header: bounded(proof.get("header"), 4096),
      accountProof: nodes(proof.get("accountProof")),
      head: slot(proof.get("head")),
      peak: slot(proof.get("peak")),
    };
  }
  return receipt;
}
