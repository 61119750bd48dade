// Parses metrics in the Prometheus text format.

/** Returns the samples of each metric as a list of `{ labels, value }`. Omits histogram buckets. */
export function parse(page) {
  const found = new Map();
  for (const line of page.split("\n")) {
    if (line === "" || line[0] === "#" || line.includes("_bucket{")) continue;
    const [, name, labels, value] = /^([^{ ]+)(?:\{(.*)\})? ([^ ]+)/.exec(line) ?? [];
    if (name === undefined) continue;
    const known = found.get(name) ?? [];
    known.push({ labels: labels ?? "", value: Number(value) });
    found.set(name, known);
  }
  return found;
}

/** Returns the value of the first sample with these labels, or undefined if there is none. */
export function value(page, name, labels = {}) {
  const wanted = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
  return page.get(name)?.find((one) => wanted.every((pair) => one.labels.includes(pair)))?.value;
}
