// Elements: what is text stays text. Nothing in these programs writes markup.

/**
 * Make an element.
 * @param {string} tag
 * @param {Object<string, any>} [about] attributes; `on` holds listeners by event, `text` is its text
 * @param {...(Node|string|null|undefined|false)} children strings become text nodes
 * @returns {HTMLElement}
 */
export function el(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

/** Replace all children of an element. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return parent;
}

/** A button with a text. */
export function button(text, click, about = {}) {
  return el("button", { type: "button", ...about, on: { click } }, text);
}

/**
 * A choice among few: radio buttons that look like one control.
 * @param {string} name its accessible name
 * @param {{value: string, text: string, title?: string}[]} options
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function choice(name, options, chosen, choose) {
  const group = el("div", { class: "choice", role: "radiogroup", "aria-label": name });
  const mark = (value) => {
    for (const one of group.children) {
      const is = one.dataset.value === value;
      one.setAttribute("aria-checked", String(is));
      one.tabIndex = is ? 0 : -1;
    }
  };
  options.forEach((option, k) => {
    const one = button(option.text, () => { mark(option.value); choose(option.value); },
      { role: "radio", "data-value": option.value, title: option.title });
    one.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const next = group.children[(k + by + options.length) % options.length];
      next.focus();
      next.click();
    });
    group.append(one);
  });
  mark(chosen);
  return group;
}

/** A drop-down with a label in front of it. */
export function dropDown(label, options, chosen, choose, about = {}) {
  const select = el("select", { "aria-label": label, ...about, on: { change: () => choose(select.value) } },
    ...options.map((one) => el("option", { value: one.value, selected: one.value === chosen }, one.text)));
  return el("label", { class: "field" }, el("span", {}, label), select);
}

let liveRegion = null;

/** Say a change to those who do not see it. */
export function announce(text) {
  if (!liveRegion) {
    liveRegion = el("div", { class: "unseen", role: "status", "aria-live": "polite" });
    document.body.append(liveRegion);
  }
  liveRegion.textContent = text;
}

/**
 * A table of what a picture draws, made when it is opened.
 * @param {string} caption
 * @param {() => {heads: string[], rows: (string|number)[][], note?: string}} make
 */
export function tableBehind(caption, make) {
  const box = el("details", { class: "behind" }, el("summary", { text: "As a table" }));
  const show = () => {
    if (!box.open) return;
    const { heads, rows, note } = make();
    const table = plainTable(caption, heads, rows);
    while (box.children.length > 1) box.lastChild.remove();
    box.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table),
      note ? el("p", { class: "note", text: note }) : "");
  };
  box.addEventListener("toggle", show);
  return { box, update: show };
}

/** A plain table. */
export function plainTable(caption, heads, rows, about = {}) {
  return el("table", about, el("caption", { text: caption }),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col", text: head })))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) =>
      cell instanceof Node ? el("td", {}, cell) : el("td", { class: typeof cell === "number" ? "number" : null,
        text: String(cell) }))))));
}
