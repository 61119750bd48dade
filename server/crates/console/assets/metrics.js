// Reads the page of metrics in Prometheus' text format.

/** Returns the samples by name: a list of `{ labels, value }` each. Buckets of histograms are left out. */
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

/** The value of the first sample with these labels; undefined if there is none. */
export function value(page, name, labels = {}) {
  const wanted = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
  return page.get(name)?.find((one) => wanted.every((pair) => one.labels.includes(pair)))?.value;
}
