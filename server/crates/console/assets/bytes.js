// Converts keys and values between bytes, the API's base64, editable text and hexadecimal.

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function fromBase64(text) {
  const raw = atob(text ?? "");
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

export function toBase64(bytes) {
  let raw = "";
  for (let at = 0; at < bytes.length; at += 8192) raw += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(raw);
}

/** Decodes UTF-8. Returns null for invalid UTF-8. */
export function utf8(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

export function fromText(text) {
  return encoder.encode(text);
}

/** Joins byte arrays. */
export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function equal(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

export function startsWith(bytes, prefix) {
  return bytes.length >= prefix.length && equal(bytes.subarray(0, prefix.length), prefix);
}

/** Returns the `range_end` for a prefix. A zero byte means all keys from the prefix on. */
export function prefixEnd(prefix) {
  for (let at = prefix.length - 1; at >= 0; at -= 1) {
    if (prefix[at] < 0xff) {
      const end = prefix.slice(0, at + 1);
      end[at] += 1;
      return end;
    }
  }
  return new Uint8Array(1);
}

/** Returns the request fields for the range of all keys with a prefix. */
export function prefixRange(prefix) {
  const start = prefix.length === 0 ? new Uint8Array(1) : prefix;
  return { key: toBase64(start), range_end: toBase64(prefixEnd(prefix)) };
}

const two = (byte) => byte.toString(16).padStart(2, "0");

// Characters that are invisible or change the text direction: controls, special spaces and direction marks.
const UNSEEN = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb]/u;

function spell(character) {
  if (character === "\\") return "\\\\";
  if (UNSEEN.test(character)) return `\\u{${character.codePointAt(0).toString(16)}}`;
  return character;
}

/** Returns the length of the UTF-8 sequence that starts with `byte`, or 0 if no sequence starts with it. */
function sequence(byte) {
  if (byte < 0x80) return 1;
  if (byte >= 0xc2 && byte < 0xe0) return 2;
  if (byte >= 0xe0 && byte < 0xf0) return 3;
  return byte >= 0xf0 && byte < 0xf5 ? 4 : 0;
}

/** Converts a key to text. Invisible characters and invalid UTF-8 become escapes that `keyOf` parses. */
export function keyText(bytes) {
  const whole = utf8(bytes);
  if (whole !== null) return Array.from(whole, spell).join("");
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = sequence(bytes[at]);
    const character = length > 0 ? utf8(bytes.subarray(at, at + length)) : null;
    if (character !== null && character !== "") {
      text += spell(character);
      at += length;
    } else {
      text += `\\x${two(bytes[at])}`;
      at += 1;
    }
  }
  return text;
}

/** Parses the text of a key to bytes. Throws an error for an unknown escape. */
export function keyOf(text) {
  const parts = [];
  const pattern = /\\(\\|x[0-9a-fA-F]{2}|u\{[0-9a-fA-F]{1,6}\})|\\|[^\\]+/gu;
  for (const [whole, escape] of text.matchAll(pattern)) {
    if (escape === undefined && whole === "\\") throw new Error("Write a backslash as \\\\ and a byte as \\x00.");
    if (escape === undefined) parts.push(fromText(whole));
    else if (escape === "\\") parts.push(fromText("\\"));
    else if (escape[0] === "x") parts.push(Uint8Array.of(parseInt(escape.slice(1), 16)));
    else parts.push(fromText(String.fromCodePoint(parseInt(escape.slice(2, -1), 16))));
  }
  return concat(...parts);
}

/** Formats bytes as a hex dump. Each line has an offset, 16 bytes and their ASCII text. */
export function hexLines(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.subarray(at, at + 16);
    const shown = Array.from(part, two).join(" ");
    const ascii = Array.from(part, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${shown.padEnd(47)}  ${ascii}`);
  }
  return lines;
}

/** Formats bytes as pairs of hexadecimal digits, separated by spaces. */
export function toHex(bytes) {
  return Array.from(bytes, two).join("").replace(/(.{2})(?=.)/g, "$1 ");
}

/** Parses pairs of hexadecimal digits and ignores white space. Throws an error for any other text. */
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 !== 0 || /[^0-9a-fA-F]/.test(digits)) {
    throw new Error("Write pairs of hexadecimal digits.");
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Indents a JSON object or array. Returns null for any other text. Copies numbers, because parsing can lose digits. */
export function prettyJson(text) {
  const start = text.trimStart()[0];
  if (start !== "{" && start !== "[") return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const parts = [];
  let depth = 0;
  let last = "";
  const line = () => parts.push(`\n${"  ".repeat(depth)}`);
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g)) {
    const opened = last === "{" || last === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      if (!opened) line();
    } else if (opened || last === ",") {
      line();
    }
    parts.push(token === ":" ? ": " : token);
    if (token === "{" || token === "[") depth += 1;
    last = token;
  }
  return parts.join("");
}
