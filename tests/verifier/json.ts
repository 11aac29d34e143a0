// A strict reader of JSON. JSON.parse keeps the last of two equal keys, rounds big numbers and takes half a
// surrogate pair; this refuses the first and the last and keeps numbers as they are written.

export class Refused extends Error {
  readonly check: string;
  constructor(check: string, reason: string) {
    super(reason);
    this.check = check;
  }
}

/** A number by its own text. */
export class Numeral {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Json = null | boolean | string | Numeral | Json[] | Map<string, Json>;

const DEEPEST = 128;
const MOST_MEMBERS = 64;
const WORDS: [string, Json][] = [["true", true], ["false", false], ["null", null]];
const ESCAPES: Record<string, string> = {
  '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t",
};

export function parse(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refused("format", "not UTF-8");
  }
  let at = 0;
  const fail = (reason: string): never => {
    throw new Refused("format", `${reason} at ${at}`);
  };
  const space = () => {
    while (at < text.length && " \t\n\r".includes(text[at]!)) at++;
  };
  const take = (char: string): boolean => {
    if (text[at] !== char) return false;
    at++;
    return true;
  };

  const unit = (): number => {
    const digits = text.slice(at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) fail("four hex digits expected");
    at += 4;
    return parseInt(digits, 16);
  };
  const escape = (): string => {
    const char = text[at] ?? fail("the text ends in an escape");
    at++;
    if (char !== "u") return ESCAPES[char] ?? fail("no such escape");
    const high = unit();
    if (high < 0xd800 || high > 0xdfff) return String.fromCharCode(high);
    if (high > 0xdbff || text.slice(at, at + 2) !== "\\u") fail("lone surrogate");
    at += 2;
    const low = unit();
    if (low < 0xdc00 || low > 0xdfff) fail("lone surrogate");
    return String.fromCharCode(high, low);
  };
  const string = (): string => {
    if (!take('"')) fail("a string expected");
    let value = "";
    let from = at;
    for (;;) {
      const code = text.charCodeAt(at);
      if (Number.isNaN(code)) fail("a string without end");
      if (code < 0x20) fail("control character in a string");
      if (code === 0x22) {
        value += text.slice(from, at++);
        return value;
      }
      if (code !== 0x5c) {
        at++;
        continue;
      }
      value += text.slice(from, at++);
      value += escape();
      from = at;
    }
  };
  const value = (depth: number): Json => {
    space();
    const char = text[at];
    if (char === "{" || char === "[") {
      if (depth === DEEPEST) fail("too deep");
      return char === "{" ? object(depth + 1) : array(depth + 1);
    }
    if (char === '"') return string();
    for (const [word, meaning] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    const number = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    number.lastIndex = at;
    const found = number.exec(text)?.[0] ?? fail("a value expected");
    at += found.length;
    return new Numeral(found);
  };
  const array = (depth: number): Json[] => {
    const items: Json[] = [];
    at++;
    space();
    if (take("]")) return items;
    do {
      items.push(value(depth));
      space();
    } while (take(","));
    if (!take("]")) fail("',' or ']' expected");
    return items;
  };
  const object = (depth: number): Map<string, Json> => {
    const members = new Map<string, Json>();
    at++;
    space();
    if (take("}")) return members;
    do {
      space();
      const key = string();
      if (members.has(key)) fail("duplicate key");
      space();
      if (!take(":")) fail("':' expected");
      members.set(key, value(depth));
      if (members.size > MOST_MEMBERS) fail("too many members");
      space();
    } while (take(","));
    if (!take("}")) fail("',' or '}' expected");
    return members;
  };

  const whole = value(0);
  space();
  if (at < text.length) fail("more text after the value");
  return whole;
}
