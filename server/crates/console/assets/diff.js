// Compares two lists of lines.

/** Maximum number of cells in the table of common lines; beyond it, all lines between the equal beginning and
 *  the equal end are shown as replaced. */
const CELLS_MAX = 1_000_000;

/** Returns `{ kind, line }` for each line: `same`, `gone` or `new`. */
export function diffLines(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let [endBefore, endAfter] = [before.length, after.length];
  while (endBefore > start && endAfter > start && before[endBefore - 1] === after[endAfter - 1]) {
    endBefore -= 1;
    endAfter -= 1;
  }
  const same = (line) => ({ kind: "same", line });
  return [
    ...before.slice(0, start).map(same),
    ...between(before.slice(start, endBefore), after.slice(start, endAfter)),
    ...before.slice(endBefore).map(same),
  ];
}

/** Compares lines by their longest common subsequence. */
function between(before, after) {
  const gone = (line) => ({ kind: "gone", line });
  const added = (line) => ({ kind: "new", line });
  if (before.length * after.length > CELLS_MAX) return [...before.map(gone), ...after.map(added)];
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = before[i] === after[j]
        ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      found.push({ kind: "same", line: before[i] });
      i += 1;
      j += 1;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      found.push(gone(before[i]));
      i += 1;
    } else {
      found.push(added(after[j]));
      j += 1;
    }
  }
  return [...found, ...before.slice(i).map(gone), ...after.slice(j).map(added)];
}

/** Replaces equal lines that are more than `around` lines away from a change with a line that states their number. */
export function shorten(lines, around = 3) {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ kind }, at) => {
    if (kind !== "same") near.fill(1, Math.max(0, at - around), at + around + 1);
  });
  const found = [];
  let skipped = 0;
  lines.forEach((line, at) => {
    if (near[at] === 1) {
      if (skipped > 0) found.push({ kind: "skipped", line: `${skipped} equal lines` });
      skipped = 0;
      found.push(line);
    } else {
      skipped += 1;
    }
  });
  if (skipped > 0) found.push({ kind: "skipped", line: `${skipped} equal lines` });
  return found;
}
