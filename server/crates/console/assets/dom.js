// Creates elements, notices and dialogs. All text becomes text nodes; nothing here parses markup.

const SHAPES = document.getElementById("shape").namespaceURI;

/** Sets the properties of an element and appends its children. The rules of `h` apply. */
function build(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** Creates an HTML element. A function in a property such as `onclick` listens for that event. Properties and children that are
 *  null, undefined or false are omitted. */
export function h(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** Creates an SVG element. */
export function s(tag, properties, ...children) {
  return build(document.createElementNS(SHAPES, tag), properties, children);
}

export function button(text, onclick, properties) {
  return h("button", { type: "button", onclick, ...properties }, text);
}

/** Creates an element for stored text, isolated so that its direction does not affect other text. */
export function name(text, properties) {
  return h("bdi", { class: "mono", ...properties }, text);
}

let fields = 0;

/** Creates a field that contains a control, its label and an optional hint. */
export function field(text, control, hint) {
  fields += 1;
  control.id ||= `field-${fields}`;
  if (hint) control.setAttribute("aria-describedby", `hint-${fields}`);
  return h("div", { class: "field" },
    h("label", { for: control.id }, text), control,
    hint && h("p", { class: "hint", id: `hint-${fields}` }, hint));
}

/** Creates a table. A wide table scrolls horizontally. */
export function table(caption, heads, rows) {
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
        h(at === 0 ? "th" : "td", { scope: at === 0 && "row" }, cell)))))));
}

/** Creates a list of terms and values. Omits falsy pairs. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, value]) =>
    h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

/** Creates a description of an error, with advice if there is any. */
export function trouble(error) {
  return h("div", { class: "card bad", role: "alert" },
    h("p", {}, h("strong", {}, error.title ?? "The action failed")),
    h("p", {}, error.message),
    error.advice && h("p", { class: "quiet" }, error.advice));
}

let hiding;

/** Shows a notice in the corner of the page for a few seconds. */
export function notify(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { notice.textContent = ""; }, 6000);
}

/** Opens a dialog with a form. `submit` is the text of its button. Resolves to the form's fields, or to null if the user closes
 *  the dialog. */
export function ask(title, parts, submit, properties) {
  const dialog = document.getElementById("dialog");
  const before = document.activeElement;
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog", onsubmit: () => dialog.close("done"), ...properties },
      h("h2", { id: "dialog-title" }, title), parts,
      h("div", { class: "row" },
        h("button", { class: "main", value: "done" }, submit),
        button("Cancel", () => dialog.close(""))));
    dialog.replaceChildren(form);
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "done" ? new FormData(form) : null;
      dialog.replaceChildren();
      before?.focus();
      resolve(given);
    }, { once: true });
    dialog.showModal();
  });
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Formats a number of bytes with a unit. */
export function size(bytes) {
  let amount = Number(bytes ?? 0);
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : 1;
  return `${amount.toFixed(digits)} ${UNITS[unit]}`;
}

/** Formats an integer of up to 64 bits with separators. */
export function count(number) {
  return BigInt(number ?? 0).toLocaleString("en");
}

/** Formats seconds with the two largest units. */
export function span(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(left / length);
    left -= whole * length;
    if (whole > 0) parts.push(`${whole} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** Formats a 64-bit id as etcdctl does. */
export function hex(id) {
  return BigInt.asUintN(64, BigInt(id ?? 0)).toString(16);
}
