// Find: a span, or a set of events; where else the same cells do this, and what those places share.
import { el, fill, button, dropDown, plainTable, announce, tableBehind } from "./dom.js";
import { digits, percent, whole, counted } from "./numbers.js";
import { shownState, show, spanOf } from "./state.js";
import { States, UP, DOWN, countHolding, stretchesOf, rankedStretches, sharedSymbols, sharedQuantities } from "./find.js";
import { Life } from "./cell.js";
import { Sheet, saveButton } from "./sheet.js";
import { StepAxis, drawStepAxis } from "./axes.js";
import { colours } from "./theme.js";
import { gistOf } from "./overview.js";
import { spoken, nameOfStep, contextOf } from "./step_words.js";

const MOST_CELLS = 6; // that are taken at first
const MOST_PLACES = 40;
const DOINGS = {
  up: "is up", down: "is down", increment: "steps up", decrement: "steps down", reset: "is reset",
};
const CODES = { increment: ["write", 0], decrement: ["write", 1], reset: ["forget", 0] };

/** The view that finds. */
export class FindView {
  /** @param {import("./bundle.js").Bundle} bundle */
  constructor(bundle, known) {
    this.bundle = bundle;
    this.known = known;
    this.places = [];
    this.head = el("div", { class: "unit-head" });
    this.asked = el("div", { class: "asked" });
    this.sheet = new Sheet("Places where the same is so", 76, (sheet) => this.draw(sheet));
    this.list = el("div", {});
    this.behind = tableBehind("All places, in time", () => ({ heads: ["from step", "to step", "conditions that hold"],
      rows: [...this.places].sort((a, b) => a.from - b.from).slice(0, 1000).map((one) => [one.from, one.to - 1, one.count]) }));
    const save = saveButton("the places", () => ({ title: this.said, canvases: [this.sheet.canvas], file: "places.png" }));
    this.box = el("section", { class: "view find-view", "aria-label": "Find" }, this.head, this.asked,
      el("div", { class: "picture" }, this.sheet.canvas), el("div", { class: "tools" }, save), this.behind.box, this.list);
  }

  async arrive() {
    this.states ??= new States(await this.bundle.array("on"), this.bundle.header.units.length, this.bundle.steps);
    const state = shownState();
    const span = spanOf(state.mark, this.bundle.steps);
    const key = JSON.stringify([state.mark, state.cells, state.enough]);
    if (key === this.key) return;
    this.key = key;
    this.span = span;
    this.through = span ? this.states.throughout(span) : [];
    this.conditions = this.conditionsOf(state.cells);
    const tests = await Promise.all(this.conditions.map((one) => this.testOf(one)));
    if (this.key !== key) return; // another was asked for meanwhile
    this.enough = Math.min(Math.max(Number(state.enough) || tests.length, 1), Math.max(tests.length, 1));
    const counts = countHolding(tests, this.bundle.steps);
    this.stretches = tests.length ? stretchesOf(counts, this.enough, this.bundle.start) : [];
    this.places = rankedStretches(this.stretches, span);
    this.fillAll();
  }

  /** What is asked for: the address says it, or else the rarest cells of the span. */
  conditionsOf(text) {
    if (text !== undefined) {
      return text.split(",").map((one) => one.split(":")).filter(([label, doing]) =>
        this.bundle.number.has(label) && Object.hasOwn(DOINGS, doing)).map(([label, doing]) => ({ label, doing }));
    }
    return this.through.slice(0, MOST_CELLS).map(({ unit, state }) =>
      ({ label: this.bundle.header.units[unit].label, doing: state === UP ? "up" : "down" }));
  }

  async testOf({ label, doing }) {
    const number = this.bundle.number.get(label);
    if (!CODES[doing]) {
      const wanted = doing === "up" ? UP : DOWN;
      return (t) => this.states.at(number, t) === wanted;
    }
    const life = new Life(this.bundle, label, await this.bundle.unit(label));
    const [kind, code] = CODES[doing];
    const codes = life.events[kind];
    return (t) => codes[t] === code;
  }

  ask(conditions) {
    show({ cells: conditions.map(({ label, doing }) => `${label}:${doing}`).join(","), enough: null });
  }

  fillAll() {
    const { conditions, places, span } = this;
    this.said = this.sentence();
    fill(this.head, el("h1", { class: "sentence", text: this.said }), ...this.shared().map((line) => el("p", { class: "rest", text: line })));
    announce(this.said);
    const chips = conditions.map((one) => el("li", { class: "condition" },
      button(one.label, () => show({ view: "unit", unit: one.label }, { push: true }), { class: "link" }),
      ` ${DOINGS[one.doing]}`, el("span", { class: "note", text: this.shareOf(one) }),
      button("×", () => this.ask(conditions.filter((other) => other !== one)), { class: "quiet",
        "aria-label": `Leave out: ${one.label} ${DOINGS[one.doing]}` })));
    const enough = conditions.length > 1 ? dropDown("Where", conditions.map((_, k) => ({ value: String(k + 1),
      text: k + 1 === conditions.length ? "all of them hold" : `at least ${k + 1} hold` })), String(this.enough),
    (value) => show({ enough: value })) : null;
    fill(this.asked, span ? el("p", {}, "The span: ", this.around({ from: span[0], to: span[1] }), " ",
      button("See it", () => this.see({ from: span[0], to: span[1] }), { class: "link" })) : null,
    el("ul", { class: "conditions", "aria-label": "What has to hold" }, ...chips), this.more(), this.adder(),
    el("div", { class: "controls" }, enough));
    this.sheet.redraw();
    this.behind.update();
    this.fillList(places);
  }

  sentence() {
    const { conditions, places, span } = this;
    if (!conditions.length) {
      return span ? "No cell is up or down throughout this span." : "Where else do the same cells do this?";
    }
    const who = conditions.length === 1 ? `Unit ${conditions[0].label} ${DOINGS[conditions[0].doing]}`
      : this.enough < conditions.length ? `At least ${this.enough} of these ${conditions.length} cells do the same`
        : `These ${conditions.length} cells do the same together`;
    return `${who} at ${places.length ? counted(places.length, span ? "other place" : "place") : "no other place"}.`;
  }

  /** What the places share: symbols and quantities. */
  shared() {
    const { conditions, span } = this;
    if (!conditions.length) {
      return [span ? "Mark another, shorter one in the view of a unit; or add what has to hold."
        : "Mark a span in the view of a unit (drag over the text or the picture), or add below what has to hold."];
    }
    if (!this.places.length) return [];
    const lines = [];
    const { symbols, series } = this.known;
    const steps = this.places.reduce((sum, one) => sum + one.to - one.from, 0);
    lines.push(`That is at ${percent(steps / this.bundle.steps)} of all steps.${this.chance(steps)}`);
    if (symbols) {
      const found = sharedSymbols(this.places, symbols.codes, symbols.shown.length);
      if (found.length) {
        lines.push(`What is read there: ${found.map((one) => `${spoken(symbols.shown[one.code])} at ${percent(one.share)} of these steps (of all: ${percent(one.chance)})`).join("; ")}.`);
      }
    }
    const quantities = sharedQuantities(this.places, series);
    if (quantities.length) {
      lines.push(`What is known there, on average: ${quantities.map((one) => `${one.name} ${digits(one.inside, 2)}${one.units ? ` ${one.units}` : ""} (over all: ${digits(one.all, 2)})`).join("; ")}.`);
    }
    return lines;
  }

  /** How often it would be so if the cells had nothing to do with each other. */
  chance(steps) {
    if (this.conditions.length < 2 || this.enough < this.conditions.length) return "";
    const shares = this.conditions.map((one) => this.numberOf(one));
    if (shares.some((one) => one === null)) return "";
    const expected = shares.reduce((product, share) => product * share, 1) * this.bundle.steps;
    const times = steps / expected;
    return times > 1.5 ? ` If these cells had nothing to do with each other, it would be ${digits(times, 2)} times as rare.` : "";
  }

  numberOf({ label, doing }) {
    if (CODES[doing]) return null;
    return this.states.shares(this.bundle.number.get(label))[doing === "up" ? UP : DOWN];
  }

  shareOf(condition) {
    const share = this.numberOf(condition);
    return share === null ? "" : ` at ${percent(share)} of all steps`;
  }

  /** Further cells that are on throughout. */
  more() {
    const chosen = new Set(this.conditions.map((one) => one.label));
    const rest = this.through.filter(({ unit }) => !chosen.has(this.bundle.header.units[unit].label));
    if (!rest.length) return null;
    const box = el("details", { class: "behind" },
      el("summary", { text: `${counted(rest.length, "further cell")} ${rest.length === 1 ? "is" : "are"} up or down throughout the span` }));
    const rows = rest.slice(0, 60).map(({ unit, state, share }) => {
      const about = this.bundle.header.units[unit];
      const doing = state === UP ? "up" : "down";
      return [button(`+ ${about.label} ${DOINGS[doing]}`, () => this.ask([...this.conditions, { label: about.label, doing }]),
        { class: "link" }), percent(share), gistOf(about)];
    });
    box.append(plainTable("Further cells, the rarest first", ["add", "of all steps", "what it does"], rows));
    return box;
  }

  adder() {
    const units = this.bundle.header.units;
    const unit = el("input", { list: "find-units", "aria-label": "Unit", placeholder: "0.27", size: 7, autocomplete: "off" });
    const names = el("datalist", { id: "find-units" }, ...units.map((one) => el("option", { value: one.label })));
    const doing = el("select", { "aria-label": "What it does" },
      ...Object.entries(DOINGS).map(([value, text]) => el("option", { value }, text)));
    const add = () => {
      const label = unit.value.trim();
      if (!this.bundle.number.has(label)) { announce(`There is no unit ${label}`); unit.focus(); return; }
      if (CODES[doing.value] && !this.bundle.has(label)) { announce(`The steps of unit ${label} are not in this file`); return; }
      this.ask([...this.conditions, { label, doing: doing.value }]);
    };
    unit.addEventListener("keydown", (event) => { if (event.key === "Enter") add(); });
    return el("div", { class: "controls" }, el("span", { class: "label", text: "And also unit" }), unit, names, doing,
      button("Add", add));
  }

  around({ from, to }) {
    const { symbols } = this.known;
    if (!symbols) return el("span", { text: `${this.nameOf(from)} to ${this.nameOf(to - 1)}` });
    const [low, high] = this.boundsOf(from);
    const reach = symbols.letters ? 24 : 6;
    return contextOf(symbols, [from, to], [Math.max(low, from - reach), Math.min(high, to + reach)], { most: symbols.letters ? 60 : 14 });
  }

  boundsOf(step) {
    const k = this.bundle.sequenceOf(step);
    return [this.bundle.start[k], this.bundle.start[k + 1]];
  }

  nameOf(t) {
    return nameOfStep(this.bundle, this.known.times, t);
  }

  see({ from, to }) {
    const room = Math.max(40, (to - from) * 1.5);
    const [low, high] = this.boundsOf(from);
    show({ view: "unit", unit: this.conditions[0]?.label ?? shownState().unit ?? null, at: null, mark: `${from}-${Math.max(to, from + 2)}`,
      steps: `${Math.max(low, Math.round(from - room))}-${Math.min(high, Math.round(to + room))}` }, { push: true });
  }

  fillList(places) {
    if (!places.length) { fill(this.list); return; }
    const rows = places.slice(0, MOST_PLACES).map((one) => [
      button(this.nameOf(one.from), () => this.see(one), { class: "link", "aria-label": `See ${this.nameOf(one.from)}` }),
      counted(one.to - one.from, "step"), `${one.count} of ${this.conditions.length} hold`, this.around(one)]);
    const note = places.length > MOST_PLACES ? `The ${MOST_PLACES} most alike of ${whole(places.length)}; the picture shows all.` : "";
    fill(this.list, plainTable("Places, the most alike first", ["where", "for", "conditions", "what was read"], rows, { class: "places" }),
      note ? el("p", { class: "note", text: note }) : null);
  }

  draw(sheet) {
    const { accent, wash, ink } = colours();
    const axis = new StepAxis(0, sheet.width, { from: 0, to: this.bundle.steps });
    const [top, height] = [16, 34];
    sheet.bar(0, top, sheet.width, height, wash);
    for (const { from, to } of this.places) sheet.bar(axis.x(from), top + 4, Math.max(1.5, axis.x(to) - axis.x(from)), height - 8, accent);
    if (this.span) {
      const middle = axis.x((this.span[0] + this.span[1]) / 2);
      const isRight = middle > sheet.width - 70;
      sheet.line(middle, top - 4, middle, top + height, ink, 2);
      sheet.write(isRight ? "the span ▼" : "▼ the span", middle + (isRight ? 5 : -5), 6, { size: 11, align: isRight ? "right" : "left" });
    }
    drawStepAxis(sheet, axis, top + height, { first: 0, times: null, isDate: false });
  }
}
