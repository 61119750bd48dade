// Shows, compares and edits values as text, JSON or hexadecimal.

import { fromHex, fromText, hexLines, prettyJson, toHex, utf8 } from "./bytes.js";
import { diffLines, shorten } from "./diff.js";
import { button, field, h, size, trouble } from "./dom.js";

/** Number of characters to show at first and to add on request. A browser takes seconds to show a megabyte. */
const SHOWN = 32 << 10;
const MORE = 128 << 10;
/** Maximum size in bytes of a value that can be edited. */
export const EDITED_BYTES_MAX = 256 << 10;
const DIFF_LINES_MAX = 400;

/** Returns the most readable form of a value: `json`, `text` or `hex`. */
export function bestForm(bytes) {
  const text = utf8(bytes);
  // A value with control characters is shown as a hex dump.
  if (text === null || /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text)) return "hex";
  return prettyJson(text) === null ? "text" : "json";
}

function linesOf(bytes, form) {
  if (form === "hex") return hexLines(bytes);
  const text = utf8(bytes) ?? "";
  return (form === "json" ? prettyJson(text) ?? text : text).split("\n");
}

let views = 0;

/** Creates a view of a value with a choice of forms. Shows the start of the value, and more on request. */
export function valueView(bytes) {
  if (bytes.length === 0) return h("p", { class: "quiet" }, "The value is empty.");
  const text = utf8(bytes);
  const json = text === null ? null : prettyJson(text);
  const forms = [["text", "Text", text !== null], ["json", "JSON", json !== null], ["hex", "Hex", true]];
  let form = bestForm(bytes);
  let limit = SHOWN;
  views += 1;
  const group = `form-${views}`;
  const shown = h("div", {});
  const draw = () => {
    // A line of the hex dump is about five times as long as its bytes.
    const end = form === "hex" ? limit / 8 : limit;
    const whole = form === "hex" ? bytes : form === "json" ? json : text;
    const part = form === "hex" ? hexLines(bytes.subarray(0, end)).join("\n") : whole.slice(0, end);
    shown.replaceChildren(
      h("pre", { class: "value", tabindex: "0", dir: "auto", "aria-label": "Value" }, part),
      whole.length > end ? h("p", { class: "row quiet" }, `The beginning of ${size(bytes.length)}.`,
        button("Show more", () => { limit += MORE; draw(); }), button("Save as a file", () => save(bytes))) : "");
  };
  draw();
  const choice = forms.filter(([, , possible]) => possible).map(([id, label]) =>
    h("label", {}, h("input", {
      type: "radio", name: group, checked: id === form, onchange: () => { form = id; draw(); },
    }), label));
  return h("div", {}, h("fieldset", { class: "choice" }, h("legend", { class: "unseen" }, "Shown as"), choice), shown);
}

/** Downloads the bytes of a value as a file. */
function save(bytes) {
  const url = URL.createObjectURL(new Blob([bytes]));
  h("a", { href: url, download: "value" }).click();
  // The browser reads the URL after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Creates a view of the differences between two values. */
export function diffView(before, after) {
  const forms = [bestForm(before), bestForm(after)];
  const form = forms.includes("hex") ? "hex" : forms.every((one) => one === "json") ? "json" : "text";
  const lines = shorten(diffLines(linesOf(before, form), linesOf(after, form)));
  if (lines.every(({ kind }) => kind === "skipped")) return h("p", { class: "quiet" }, "Both values are equal.");
  const signs = { same: "  ", gone: "− ", new: "+ ", skipped: "⋯ " };
  const names = { gone: "removed: ", new: "added: " };
  const rows = lines.slice(0, DIFF_LINES_MAX).map(({ kind, line }) => h("div", { class: kind },
    h("span", { "aria-hidden": "true" }, signs[kind]),
    names[kind] && h("span", { class: "unseen" }, names[kind]),
    h("bdi", {}, line.slice(0, 2000))));
  const rest = lines.length - rows.length;
  return h("div", { class: "value diff", tabindex: "0", role: "group", "aria-label": "Differences" }, rows,
    rest > 0 && h("div", { class: "skipped" }, `${rest} more lines`));
}

/** Shows a form that edits a value in `place`. Passes the new bytes to `save`, and shows the error if `save` fails. */
export function editValue(place, bytes, note, cancel, save) {
  const text = utf8(bytes);
  // A text field normalizes line ends to `\n`, so values with other line ends are edited as hexadecimal.
  const plain = text !== null && bestForm(bytes) !== "hex" && !text.includes("\r");
  const area = h("textarea", {
    rows: Math.min(18, Math.max(4, (plain ? text : toHex(bytes)).split("\n").length + 1)),
    spellcheck: "false", autocomplete: "off", dir: "auto", name: "value",
  });
  area.value = plain ? text : toHex(bytes);
  const hint = plain ? "Saved exactly as written, as UTF-8." : "Hexadecimal: this value is not plain text.";
  const problem = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    try {
      await save(plain ? fromText(area.value) : fromHex(area.value));
    } catch (error) {
      problem.replaceChildren(trouble(error));
    }
  };
  place.replaceChildren(h("form", { class: "card", onsubmit: submit, "aria-label": "Edit the value" },
    field("Value", area, hint), problem,
    h("div", { class: "row" }, h("button", { class: "main" }, "Save"), button("Cancel", cancel),
      h("span", { class: "quiet" }, note))));
  area.focus();
}
