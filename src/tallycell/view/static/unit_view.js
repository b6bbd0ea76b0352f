// One unit: its sentence and evidence, the text that it read, its life, and the ledger of a step.
import { el, fill, button, announce, tableBehind, dropDown } from "./dom.js";
import { digits, whole, signed } from "./numbers.js";
import { shownState, show, spanOf } from "./state.js";
import { Life, FORGETS, WRITES, EXPOSES } from "./cell.js";
import { Pyramid } from "./pyramid.js";
import { Sheet, saveButton } from "./sheet.js";
import { StepAxis, Row } from "./axes.js";
import { Window, moveBy, tableOfSeen } from "./zoom.js";
import { rowsOf, heightOf, prepare, drawLife, drawCurve, roomBelow, leftOf, LITTLE_ROOM } from "./life_picture.js";
import { TextView, eventAt } from "./text_view.js";
import { LedgerView, ledgerFor, headOf } from "./ledger_view.js";
import { colours } from "./theme.js";
import { fillHead, fillEvidence } from "./unit_words.js";
import { spoken, nameOfStep, contextOf } from "./step_words.js";

const LIVELY_STEPS = { letters: 140, words: 60, none: 730 };
const IDLE = 150; // milliseconds after which the address says what is seen

const whenIdle = (work) => (globalThis.requestIdleCallback ?? ((later) => setTimeout(later, IDLE)))(work);

/** The view of one unit. */
export class UnitView {
  /**
   * @param {import("./bundle.js").Bundle} bundle
   * @param {{symbols: any, times: Float64Array|null, series: any[], find: (span: [number, number]) => void,
   *   order: () => string[]}} known
   */
  constructor(bundle, known) {
    this.bundle = bundle;
    this.known = known;
    this.life = null;
    this.at = null;
    this.hover = null;
    this.mark = null;
    this.seen = new Window(0, bundle.steps);
    this.seen.listeners.add(() => this.moved());
    this.box = el("section", { class: "view unit-view", "aria-label": "Unit" });
    this.makeParts();
  }

  makeParts() {
    this.head = el("div", { class: "unit-head" });
    this.sheet = new Sheet("The unit's life", 360, (sheet) => this.drawLife(sheet), {
      "aria-describedby": "life-keys" });
    this.strip = new Sheet("All steps of the sequence", 46, (sheet) => this.drawStrip(sheet), { class: "strip" });
    this.readout = el("output", { class: "readout" });
    this.tools = el("div", { class: "tools" });
    this.ledger = new LedgerView(this.bundle, {
      nameOf: (t) => this.nameOf(t), around: (t) => this.around(t), pick: (t) => this.pick(t),
      pickUnit: (label) => show({ unit: label }, { push: true }), output: (name) => show({ output: name }) });
    const { symbols } = this.known;
    this.text = symbols && new TextView(symbols, {
      pick: (t) => this.pick(t), hover: (t) => this.point(t), colourBy: (name) => show({ colour: name }),
      mark: (span, done) => this.marked(span, done) });
    this.behind = tableBehind("The steps that are seen", () => this.tableOfSteps());
    this.evidence = el("section", { class: "evidence", "aria-label": "Evidence" });
    moveBy(this.sheet, this.seen, { stepAt: (x) => this.axis.stepAt(x), hover: (t) => this.point(t),
      pick: (t) => this.pick(t), mark: (span, done) => this.marked(span, done), key: (event) => this.key(event) });
    this.brush();
    const keys = el("p", { class: "note", id: "life-keys" },
      "Drag to mark a span, click for the ledger of a step. Click, then wheel or + − to zoom, ← → to move, . and , for"
      + " the next step, 0 for all. Below: drag to choose what is seen.");
    this.body = el("div", { class: "unit-body" }, this.text?.box, this.readout,
      el("div", { class: "picture" }, this.sheet.canvas, this.strip.canvas), this.tools, keys, this.behind.box, this.ledger.box,
      this.evidence);
    this.box.append(this.head, this.body);
  }

  /** Show what the address says. */
  async arrive() {
    const label = this.bundle.number.has(shownState().unit) ? shownState().unit : this.known.order()[0];
    if (this.life?.label !== label) {
      this.missing = fillHead(this.head, this.bundle, this.known.order(), label);
      if (!this.bundle.has(label)) {
        this.life = null;
        this.body.hidden = true;
        this.missing.hidden = false;
        return;
      }
      this.body.hidden = false;
      const arrays = await this.bundle.unit(label);
      if ((this.bundle.number.has(shownState().unit) ? shownState().unit : label) !== label) return; // left meanwhile
      this.follow(this.soon?.label === label ? this.soon : new Life(this.bundle, label, arrays));
      this.haveReady(label);
    }
    this.follow(this.life);
  }

  /** Have the unit that follows one ready, while nothing else is to be done. */
  haveReady(label) {
    const order = this.known.order();
    const next = order[order.indexOf(label) + 1];
    if (next === undefined || !this.bundle.has(next)) return;
    whenIdle(async () => {
      if (this.life?.label !== label) return; // left meanwhile
      const life = new Life(this.bundle, next, await this.bundle.unit(next).catch(() => null));
      if (!life.c || this.life?.label !== label) return;
      prepare(life);
      this.soon = life;
    });
  }

  /** Take the span, the step and the colours of the address. */
  follow(life) {
    const isNew = life !== this.life;
    this.life = life;
    const state = shownState();
    const span = spanOf(state.steps, this.bundle.steps);
    const inside = span && this.sequence === this.bundle.sequenceOf(span[0]);
    if (span && !inside) this.takeSequence(this.bundle.sequenceOf(span[0]));
    if (this.sequence === undefined) this.takeSequence(0);
    if (span) this.seen.see(...span);
    else if (isNew && !state.steps) this.seeLiveliest();
    const at = /^\d+$/.test(state.at ?? "") ? Math.min(Number(state.at), this.bundle.steps - 1) : null;
    this.at = at;
    this.mark = spanOf(state.mark, this.bundle.steps);
    this.refresh(isNew);
  }

  takeSequence(k) {
    this.sequence = k;
    this.seen.reset(this.bundle.start[k], this.bundle.start[k + 1]);
  }

  /** See where the cell moves most. */
  seeLiveliest() {
    const { symbols } = this.known;
    const narrow = this.box.clientWidth < 600 ? 0.35 : 1;
    const size = Math.round(LIVELY_STEPS[symbols ? (symbols.letters ? "letters" : "words") : "none"] * narrow);
    const { c } = this.life;
    let [sum, best, found] = [0, -1, this.seen.low];
    const moved = (t) => (t > this.seen.low ? Math.abs(c[t] - c[t - 1]) * (1 + Math.abs(c[t])) : 0);
    for (let t = this.seen.low; t < this.seen.high; t += 1) {
      sum += moved(t) - (t - size >= this.seen.low ? moved(t - size) : 0);
      if (t - this.seen.low >= size - 1 && sum > best) [best, found] = [sum, t - size + 1];
    }
    this.seen.see(found, found + size);
  }

  async refresh(isNew) {
    const head = await (this.headPromise ??= headOf(this.bundle));
    this.modelHead = head;
    const { life, at } = this;
    if (!life) return;
    if (isNew || !this.held || this.held.at !== at) {
      this.held = at === null ? null : ledgerFor(life, at);
    }
    if (isNew) fillEvidence(this.evidence, life.about, this.followed?.name);
    this.drawTools();
    this.colour();
    this.ledger.show(life, this.held, head, shownState().output);
    this.sheet.canvas.setAttribute("aria-label", `Life of unit ${life.label}, steps ${this.seen.from} to ${this.seen.to - 1}`);
    this.moved();
  }

  // ---- what is seen -------------------------------------------------------------------------------------------------

  moved() {
    this.sheet.redraw();
    this.strip.redraw();
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      if (!this.life) return;
      if (shownState().view === "unit" || !shownState().view) show({ steps: `${this.seen.from}-${this.seen.to}` });
      this.colour();
      this.behind.update();
    }, IDLE);
  }

  pick(t) {
    show({ at: t });
    announce(this.say(t));
  }

  point(t) {
    if (t === this.hover) return;
    this.hover = t;
    this.readout.textContent = t === null ? (this.at === null ? "" : this.say(this.at)) : this.say(t);
    this.sheet.redraw();
  }

  marked(span, done) {
    this.mark = span;
    this.sheet.redraw();
    if (done) show({ mark: span && `${span[0]}-${span[1]}` });
  }

  key(event) {
    const step = { ".": 1, ",": -1 }[event.key];
    if (step) {
      const next = (this.at ?? this.seen.from - step) + step;
      if (next >= this.seen.low && next < this.seen.high) {
        this.seen.include(next);
        this.pick(next);
      }
      return true;
    }
    if (event.key === "Escape") { show({ at: null, mark: null }); return true; }
    if (event.key === "z" && this.mark) { this.seen.see(...this.mark); return true; }
    return false;
  }

  /** The strip below: drag to choose what is seen. */
  brush() {
    let began = null;
    const { canvas } = this.strip;
    const stepAt = (event) => this.seen.low + (event.clientX - canvas.getBoundingClientRect().left - this.left)
      / Math.max(this.strip.width - this.left - this.right, 1) * (this.seen.high - this.seen.low);
    canvas.addEventListener("pointerdown", (event) => {
      const step = stepAt(event);
      const inside = step >= this.seen.from && step < this.seen.to && this.seen.size < this.seen.high - this.seen.low;
      began = { step, offset: inside ? step - this.seen.from : null, size: this.seen.size };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!began) return;
      const step = stepAt(event);
      if (began.offset !== null) this.seen.see(step - began.offset, step - began.offset + began.size);
      else this.seen.see(Math.min(began.step, step), Math.max(began.step, step));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (began && began.offset === null && Math.abs(stepAt(event) - began.step) < 1) {
        this.seen.see(began.step - began.size / 2, began.step + began.size / 2);
      }
      began = null;
    });
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  get left() { return leftOf(this.sheet.width); }

  get right() { return this.followed ? 46 : 10; }

  get rows() {
    const wanted = (shownState().series ?? "").split(",").filter((one) => one !== "").map(Number);
    return rowsOf(this.life, this.held, wanted.map((k) => this.known.series[k]).filter(Boolean));
  }

  /** The quantity that the unit follows, laid over its cell: with one mean and one spread. */
  get followed() {
    const { follows } = this.life?.about ?? {};
    const series = follows && this.known.series.find((one) => one.name === follows.quantity);
    if (!series) return null;
    return this.life.once("followed", () => ({ ...series, ...laidOver(series.raw, this.life.c, follows.correlation) }));
  }

  drawLife(sheet) {
    if (!this.life) return;
    const { rows } = this;
    this.axis = new StepAxis(this.left, sheet.width - this.right, this.seen);
    sheet.resize(heightOf(rows, sheet.width) + roomBelow(this.known.symbols, this.axis.per));
    const first = this.bundle.start[this.sequence];
    drawLife(sheet, this.axis, { life: this.life, rows, ledger: this.held, symbols: this.known.symbols,
      labels: { first, times: this.known.times, isDate: this.bundle.header.time === "date" },
      follows: this.followed, at: this.at, mark: this.mark, hover: this.hover });
  }

  drawStrip(sheet) {
    if (!this.life) return;
    const { cell, wash, accent, line } = colours();
    const all = new StepAxis(this.left, sheet.width - this.right, { from: this.seen.low, to: this.seen.high });
    sheet.bar(all.left, 0, all.right - all.left, sheet.height, wash);
    const values = this.life.once("pyramid:c", () => new Pyramid(this.life.c));
    const row = new Row(4, sheet.height - 8, ...values.range(this.seen.low, this.seen.high));
    drawCurve(sheet, all, row, values, { colour: cell, width: 1.2 });
    sheet.pen.fillStyle = accent;
    sheet.pen.globalAlpha = 0.18;
    sheet.pen.fillRect(all.x(this.seen.from), 0, Math.max(3, all.x(this.seen.to) - all.x(this.seen.from)), sheet.height);
    sheet.pen.globalAlpha = 1;
    for (const edge of [this.seen.from, this.seen.to]) sheet.line(all.x(edge), 0, all.x(edge), sheet.height, accent, 1.5);
    if (this.at !== null) sheet.line(all.x(this.at), 0, all.x(this.at), sheet.height, line, 1);
    if (sheet.width < LITTLE_ROOM) return;
    sheet.write(whole(this.seen.high - this.seen.low), all.left - 8, sheet.height / 2 - 7,
      { size: 11, align: "right", colour: colours().soft });
    sheet.write("steps in all", all.left - 8, sheet.height / 2 + 7, { size: 11, align: "right", colour: colours().soft });
  }

  colour() {
    if (!this.text || !this.life) return;
    const names = ["cell", "events", ...(this.life.o ? ["shown"] : []),
      ...(this.modelHead && this.life.o && this.modelHead.isLast(this.life.number) ? ["output"] : []),
      ...(this.held ? ["ledger"] : [])];
    const by = names.includes(shownState().colour) ? shownState().colour : "cell";
    const key = [this.life.label, names.length, by, this.at, this.seen.from, this.seen.to, shownState().theme, by === "output" && this.modelHead].join();
    if (key === this.coloured) return;
    this.coloured = key;
    this.text.offer(names, by);
    this.text.show(this.seen, this.valueBy(by), this.at, this.seen.high);
  }

  valueBy(by) {
    const { life, held } = this;
    const { scale } = life.about;
    if (by === "events") return (t) => eventAt(life, t);
    if (by === "shown") return (t) => life.shown[t];
    if (by === "ledger") {
      const most = Math.max(...held.pyramid.range(0, held.parts.length).map(Math.abs), 1e-12);
      return (t) => (t >= held.first && t < held.first + held.parts.length ? held.parts[t - held.first] / most : 0);
    }
    if (by === "output") {
      const { weight, units, firstAt } = this.modelHead;
      const part = (t) => (firstAt(t) === 0xffff ? 0 : weight[firstAt(t) * units + life.number] * life.shown[t]);
      let most = 1e-12;
      for (let t = this.seen.from; t < this.seen.to; t += 1) most = Math.max(most, Math.abs(part(t)));
      return (t) => part(t) / most;
    }
    return (t) => life.c[t] / scale;
  }

  // ---- words --------------------------------------------------------------------------------------------------------

  nameOf(t) {
    const { symbols, times } = this.known;
    const name = nameOfStep(this.bundle, times, t);
    return symbols ? `${name}, ${spoken(symbols.shown[symbols.codes[t]])}` : name;
  }

  around(t) {
    const { symbols, series } = this.known;
    if (symbols) {
      const sides = symbols.letters ? [18, 6] : [4, 2];
      const around = [Math.max(this.seen.low, t - sides[0]), Math.min(this.seen.high, t + sides[1] + 1)];
      return contextOf(symbols, [t, t + 1], around, { width: symbols.letters ? sides[0] : 0 });
    }
    return series.slice(0, 3).map((one) => `${one.name} ${digits(one.raw[t])}`).join(" · ");
  }

  say(t) {
    const { life } = this;
    const { events } = life;
    const parts = [this.nameOf(t), `f ${digits(life.f[t])} (${FORGETS[events.forget[t]]})`,
      `writes ${signed(life.write[t])} (${WRITES[events.write[t]]})`, `cell ${digits(life.c[t])}`];
    if (life.tally) parts.push(`tally ${digits(life.tally[t])}`);
    if (life.o) parts.push(`shows ${digits(life.shown[t])} (${EXPOSES[events.expose[t]]})`);
    return parts.join("  ·  ");
  }

  drawTools() {
    const { life, mark } = this;
    const { series } = this.known;
    const sequences = this.bundle.header.sequences;
    const drawn = new Set((shownState().series ?? "").split(",").filter(Boolean));
    const parts = [];
    if (sequences.length > 1) {
      parts.push(dropDown("Sequence", sequences.map((one, k) => ({ value: String(k), text: one.name })),
        String(this.sequence), (value) => {
          this.takeSequence(Number(value));
          this.seeLiveliest();
          show({ at: null, mark: null, steps: `${this.seen.from}-${this.seen.to}` });
        }));
    }
    if (series.length) {
      parts.push(dropDown("Draw beside it", [{ value: "", text: drawn.size ? "none" : "choose …" },
        ...series.map((one, k) => ({ value: String(k), text: `${drawn.has(String(k)) ? "✓ " : ""}${one.name}` }))], "",
      (value) => {
        if (value === "") drawn.clear();
        else if (!drawn.delete(value)) drawn.add(value);
        show({ series: [...drawn].join(",") || null });
      }));
    }
    parts.push(saveButton(`unit ${life.label}`, () => ({ title: `Unit ${life.label}. ${life.about.sentence}`,
      canvases: [this.sheet.canvas, this.strip.canvas], file: `unit_${life.label}.png` })));
    if (mark) {
      parts.push(el("span", { class: "marked" }, el("strong", { text: `${whole(mark[1] - mark[0])} steps marked` }),
        button("Zoom to them", () => this.seen.see(...mark)),
        button("Find the same elsewhere", () => this.known.find(mark), { class: "primary" }),
        button("×", () => show({ mark: null }), { class: "quiet", "aria-label": "Take the mark away" })));
    }
    fill(this.tools, ...parts);
    this.readout.textContent = this.at === null ? "" : this.say(this.at);
  }

  tableOfSteps() {
    const { life } = this;
    return tableOfSeen(this.seen, ["step", "f", "forgets", "writes", "event", "cell", "tally", "shows"], (t) => [
      this.nameOf(t), digits(life.f[t]), FORGETS[life.events.forget[t]], signed(life.write[t]), WRITES[life.events.write[t]],
      digits(life.c[t]), life.tally ? digits(life.tally[t]) : "–", life.o ? digits(life.shown[t]) : "–"]);
  }
}

/** A line that lays a quantity over a cell. */
function laidOver(values, c, correlation) {
  let [n, mean, of, meanC, ofC] = [0, 0, 0, 0, 0];
  for (let t = 0; t < c.length; t += 1) {
    if (Number.isNaN(values[t])) continue;
    n += 1;
    const [d, e] = [values[t] - mean, c[t] - meanC];
    mean += d / n;
    meanC += e / n;
    of += d * (values[t] - mean);
    ofC += e * (c[t] - meanC);
  }
  const slope = ofC > 0 ? Math.sqrt(of / ofC) * Math.sign(correlation) : 0;
  return slope ? { slope, offset: mean - slope * meanC } : { slope: 1, offset: 0 };
}
