// What was read, coloured step by step: by the cell, its events, what is shown, or what it adds to an output.
import { el, choice } from "./dom.js";
import { FORGETS, WRITES } from "./cell.js";

const MOST_SHOWN = 700; // steps: a window onto them shows about as many
const FEW_SHOWN = 200; // where so many are seen that the text is but a small part of them
const MANY_SEEN = 4000;
const BUCKETS = 8;
const COLOURS_BY = {
  cell: ["the cell", "Blue: above 0, underlined vermilion: below"],
  events: ["events", "Blue: a step up, vermilion: down, on dark: a reset"],
  shown: ["what it shows", "Blue: above 0, underlined vermilion: below"],
  output: ["its part in the output", "Blue: it raises the model's first choice there, underlined vermilion: it lowers it"],
  ledger: ["what is still in the cell", "By how much of each write is in the cell at the chosen step"],
};

/** The text panel of a unit. */
export class TextView {
  /**
   * @param {{pick: (step: number) => void, hover: (step: number|null) => void, colourBy: (name: string) => void}} on
   */
  constructor(symbols, on) {
    this.symbols = symbols;
    this.text = el("div", { class: symbols.letters ? "read letters" : "read words", role: "group",
      "aria-label": "What was read, coloured by the unit", tabindex: 0 });
    this.legend = el("span", { class: "note" });
    this.choices = el("div");
    this.box = el("section", { class: "text-view", "aria-label": "Text" }, this.choices, this.text);
    const stepOf = (event) => event.target.dataset?.t;
    this.text.addEventListener("click", (event) => { if (stepOf(event)) on.pick(Number(stepOf(event))); });
    this.text.addEventListener("pointerover", (event) => on.hover(stepOf(event) ? Number(stepOf(event)) : null));
    this.text.addEventListener("pointerleave", () => on.hover(null));
    this.text.addEventListener("mouseup", () => this.select(on));
    this.on = on;
  }

  /** A selection of text is a span of steps. */
  select(on) {
    const chosen = getSelection();
    if (!chosen || chosen.isCollapsed || !on.mark) return;
    const steps = [chosen.anchorNode, chosen.focusNode].map((node) => node?.parentElement?.dataset?.t);
    if (steps.some((one) => one === undefined)) return;
    const [a, b] = steps.map(Number);
    on.mark([Math.min(a, b), Math.max(a, b) + 1], true);
  }

  /** Offer by what a text can be coloured. */
  offer(names, chosen) {
    this.choices.replaceChildren(el("span", { class: "label", text: "Colour by" }),
      choice("Colour the text by", names.map((name) => ({ value: name, text: COLOURS_BY[name][0] })), chosen,
        this.on.colourBy), this.legend);
    this.choices.className = "choices";
    this.legend.textContent = COLOURS_BY[chosen][1];
  }

  /**
   * Show some steps.
   * @param {import("./zoom.js").Window} seen
   * @param {(t: number) => number|string} valueOf between -1 and 1, or the name of an event
   * @param {number|null} at
   * @param {number} stop where its sequence ends
   */
  show(seen, valueOf, at, stop) {
    const middle = at !== null && at >= seen.from && at < seen.to ? at : (seen.from + seen.to) >> 1;
    const most = seen.size > MANY_SEEN ? FEW_SHOWN : MOST_SHOWN;
    const first = seen.size > most ? Math.max(seen.from, middle - most / 2) : seen.from;
    const end = Math.min(stop, seen.to, first + most);
    const pieces = document.createDocumentFragment();
    if (first > seen.low) pieces.append(el("span", { class: "more", text: "… " }));
    for (let t = first; t < end; t += 1) {
      const code = this.symbols.codes[t];
      const value = valueOf(t);
      const piece = el("span", { class: `${classOf(value)}${t === at ? " at" : ""}`, "data-t": t },
        this.symbols.shown[code]);
      pieces.append(piece);
      if (this.symbols.breaks.has(code)) pieces.append("\n");
      else if (!this.symbols.letters) pieces.append(" ");
    }
    if (end < stop) pieces.append(el("span", { class: "more", text: " …" }));
    this.text.replaceChildren(pieces);
  }
}

function classOf(value) {
  if (typeof value === "string") return `e-${value}`;
  const bucket = Math.round(Math.min(1, Math.abs(value)) * BUCKETS);
  if (!bucket) return "v0";
  return `${value > 0 ? "p" : "n"}${bucket}`;
}

/** What happens to a cell at a step, in one word. */
export function eventAt(life, t) {
  if (life.events.forget[t] === 0) return FORGETS[0];
  return WRITES[life.events.write[t]];
}
