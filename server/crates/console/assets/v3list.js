// Lists v3 keys as a tree separated by "/". Reads only limited ranges without values, and skips the keys below a folder
// with one request, so that a million keys can be listed.

import { v3 } from "./api.js";
import { concat, equal, fromBase64, prefixEnd, startsWith, toBase64 } from "./bytes.js";

const SLASH = 47;
/** Maximum number of keys in a range. */
const LIMIT = 100;
/** Maximum number of ranges to read for a page of entries. Each folder needs a range. */
const RANGES_MAX = 60;
const ZERO = new Uint8Array(1);

/** Reads the entries `{ folder, key, kv }` directly below a prefix, page by page. A folder has no `kv`. */
export class Listing {
  constructor(prefix) {
    this.prefix = prefix;
    this.at = prefix.length === 0 ? ZERO : prefix;
    this.end = prefixEnd(prefix);
    this.done = false;
    this.total = null;
    this.revision = undefined;
    this.folder = null;
  }

  /** Returns `wanted` or up to `LIMIT` more entries, or fewer at the end or after `RANGES_MAX` ranges. */
  async page(wanted) {
    const entries = [];
    for (let ranges = 0; ranges < RANGES_MAX && entries.length < wanted && !this.done; ranges += 1) {
      await this.range(entries);
    }
    return entries;
  }

  /** Reads one range, appends its entries, and moves past the last key or its folder. Sets `done` at the end. */
  async range(entries) {
    const answer = await v3("kv/range", {
      key: toBase64(this.at), range_end: toBase64(this.end), limit: String(LIMIT), keys_only: true,
    });
    this.revision ??= answer.header.revision;
    this.total ??= answer.count ?? "0";
    const kvs = answer.kvs ?? [];
    for (const kv of kvs) this.add(fromBase64(kv.key), kv, entries);
    this.done = !answer.more || kvs.length === 0;
    if (this.done) return;
    const last = fromBase64(kvs[kvs.length - 1].key);
    this.at = this.folder && startsWith(last, this.folder) ? prefixEnd(this.folder) : concat(last, ZERO);
    // The folder may be the last entry below the prefix.
    this.done = equal(this.at, this.end);
  }

  /** Appends a key, or its folder unless the folder is the last one that was appended. */
  add(key, kv, entries) {
    const slash = key.indexOf(SLASH, this.prefix.length);
    if (slash < 0) {
      entries.push({ folder: false, key, kv });
      return;
    }
    const folder = key.slice(0, slash + 1);
    if (this.folder && equal(folder, this.folder)) return;
    this.folder = folder;
    entries.push({ folder: true, key: folder });
  }
}

/** Returns the folders above a prefix and the prefix itself, outermost first. */
export function parents(prefix) {
  const found = [];
  for (let at = 0; at < prefix.length; at += 1) {
    if (prefix[at] === SLASH) found.push(prefix.slice(0, at + 1));
  }
  if (prefix.length > 0 && prefix[prefix.length - 1] !== SLASH) found.push(prefix);
  return found;
}
