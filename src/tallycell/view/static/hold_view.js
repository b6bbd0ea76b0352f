// Hold a gate of a unit, and compare with the free run. Only a page that a server gives can: the model runs again.
import { el, fill, button, dropDown, plainTable, announce, tableBehind } from "./dom.js";
import { digits, signed, whole } from "./numbers.js";
import { shownState, show, spanOf } from "./state.js";
import { Life } from "./cell.js";
import { lifeOfBytes } from "./bundle.js";
import { Pyramid } from "./pyramid.js";
import { Sheet, saveButton } from "./sheet.js";
import { StepAxis, Row, drawRowAxis, drawStepAxis } from "./axes.js";
import { drawCurve, leftOf } from "./life_picture.js";
import { Window, moveBy, tableOfSeen } from "./zoom.js";
import { signedBar } from "./chips.js";
import { colours } from "./theme.js";
import { gistOf } from "./overview.js";

const HELD = { c: "its cell", f: "its forget gate", i: "its input gate", o: "its output gate", g: "its candidate", h: "what it shows" };

/** The view that holds. */
export class HoldView {
  /** @param {import("./bundle.js").Bundle} bundle */
  constructor(bundle, known) {
    this.bundle = bundle;
    this.known = known;
    this.seen = new Window(0, bundle.steps);
    this.head = el("div", { class: "unit-head" });
    this.form = el("div", { class: "controls" });
    this.hover = el("output", { class: "readout" });
    this.sheet = new Sheet("The cell held and free, and how far the outputs move", 330, (sheet) => this.draw(sheet));
    this.more = el("div", { class: "two" });
    this.behind = tableBehind("The steps that are seen", () => this.table());
    this.seen.listeners.add(() => {
      this.sheet.redraw();
      this.behind.update();
    });
    moveBy(this.sheet, this.seen, { stepAt: (x) => this.axis?.stepAt(x) ?? 0, hover: (t) => this.say(t), pick: (t) => this.say(t) });
    this.result = el("div", { class: "unit-body", hidden: true }, this.hover, el("div", { class: "picture" }, this.sheet.canvas),
      el("p", { class: "note", text: "Drag to move; click, then wheel or + − to zoom, 0 for all." }),
      el("div", { class: "tools" }, saveButton("the hold", () => ({ title: this.title(), canvases: [this.sheet.canvas], file: "hold.png" }))),
      this.behind.box, this.more);
    this.box = el("section", { class: "view", "aria-label": "Hold" }, this.head, this.form, this.result);
  }

  async arrive() {
    const state = shownState();
    const label = this.bundle.number.has(state.unit) ? state.unit : this.known.order()[0];
    if (label !== this.label) {
      this.label = label;
      this.held = null;
      this.result.hidden = true;
    }
    if (this.key === JSON.stringify([label, state.mark])) return;
    this.key = JSON.stringify([label, state.mark]);
    this.span = spanOf(state.mark, this.bundle.steps);
    this.fillForm();
    if (!this.held) this.fillHead("What becomes of it if it is held?", `Unit ${label}: ${gistOf(this.bundle.unitNamed(label))} `
      + "Hold a gate of it at a value: the model runs again, and both runs are laid over each other.");
  }

  fillHead(title, text) {
    fill(this.head, el("h1", { class: "sentence", text: title }), el("p", { class: "rest", text }));
  }

  fillForm() {
    const unit = dropDown("Unit", this.known.order().map((one) => ({ value: one, text: one })), this.label, (value) => show({ unit: value }));
    this.gate = dropDown("Hold", Object.entries(HELD).map(([value, text]) => ({ value, text: `${text} (${value})` })), this.gate?.lastChild.value ?? "c", () => {});
    this.value = el("input", { value: this.value?.value ?? "0", size: 6, "aria-label": "At this value, or mean", inputmode: "decimal" });
    const where = dropDown("at", [{ value: "all", text: "all steps" }, ...(this.span ? [{ value: "span", text: `the ${whole(this.span[1] - this.span[0])} steps that are marked` }] : [])],
      this.span ? "span" : "all", (value) => { if (value === "all") show({ mark: null }); });
    const run = button("Run it again", () => this.run(), { class: "primary" });
    this.value.addEventListener("keydown", (event) => { if (event.key === "Enter") this.run(); });
    fill(this.form, unit, this.gate, el("label", { class: "field" }, el("span", {}, "at"), this.value), where, run);
  }

  async run() {
    const text = this.value.value.trim().replace("−", "-");
    const value = text === "mean" ? "mean" : Number(text);
    if (text === "" || Number.isNaN(value)) {
      this.fillHead("That is no value.", "Give a number such as 0 or -0.5, or the word mean.");
      return;
    }
    const wish = { unit: this.label, gate: this.gate.lastChild.value, value };
    if (this.span) [wish.from, wish.to] = this.span;
    this.fillHead("The model runs again …", "");
    announce("The model runs again");
    try {
      const answer = await this.bundle.source.ask("hold", wish);
      await this.take(await answer.arrayBuffer(), wish);
    } catch (error) {
      this.fillHead("It could not be held.", `${error.message}.`);
    }
  }

  async take(buffer, wish) {
    const size = new DataView(buffer).getUint32(0, true);
    const said = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const { steps, start, header } = this.bundle;
    const floats = header.lives.length * steps + start.length - 1;
    const bytes = buffer.slice(4 + size, 4 + size + 4 * floats);
    const about = { names: header.lives, steps, start, reverse: false };
    this.held = new Life(this.bundle, this.label, lifeOfBytes(bytes, about, false));
    this.free = new Life(this.bundle, this.label, await this.bundle.unit(this.label));
    const moved = said.moved ? new Float32Array(buffer, 4 + size + 4 * floats, steps) : null;
    this.curves = { free: new Pyramid(this.free.c), held: new Pyramid(this.held.c), moved: moved && new Pyramid(moved), values: moved };
    this.wish = wish;
    this.said = said;
    this.result.hidden = false;
    const first = wish.from ?? said.top?.[0]?.step ?? 0;
    this.seen.see(first - 100, Math.max(first + 300, wish.to ?? 0));
    this.fillHead(said.said, this.title());
    announce(said.said);
    this.fillMore();
    this.sheet.redraw();
  }

  title() {
    const { unit, gate, value, from, to } = this.wish;
    const where = from === undefined ? "at all steps" : `from step ${whole(from)} to ${whole(to - 1)}`;
    return `Unit ${unit}: ${HELD[gate]} held at ${value === "mean" ? "its mean" : digits(value)} ${where}.`;
  }

  fillMore() {
    const { top, pushed } = this.said;
    if (!top) { fill(this.more); return; }
    const most = Math.abs(pushed[0]?.by ?? 1);
    fill(this.more,
      el("div", { class: "scroll" }, plainTable("Where the outputs move most", ["step", "moved", "first choice, free", "held"],
        top.map((one) => [button(whole(one.step), () => this.seen.see(one.step - 60, one.step + 60), { class: "link" }),
          digits(one.moved), one.before, one.after]))),
      el("div", { class: "scroll" }, plainTable("Which outputs move most, on average over all steps", ["output", "by"],
        pushed.map((one) => [one.output, signedBar(one.by, most, signed(one.by))]))));
  }

  draw(sheet) {
    if (!this.curves) return;
    const { cell, leak, ink, soft, wash } = colours();
    const left = leftOf(sheet.width);
    this.axis = new StepAxis(left, sheet.width - 10, this.seen);
    const { axis } = this;
    if (this.wish.from !== undefined) {
      const [a, b] = [Math.max(this.wish.from, axis.from), Math.min(this.wish.to, axis.to)];
      if (b > a) sheet.bar(axis.x(a), 0, axis.x(b) - axis.x(a), 290, wash);
    }
    const ranges = [this.curves.free, this.curves.held].map((one) => one.range(axis.from, axis.to));
    const low = Math.min(0, ...ranges.map((one) => one[0]));
    const high = Math.max(0, ...ranges.map((one) => one[1]));
    const row = new Row(28, 170, low - 0.05 * (high - low), high + 0.05 * (high - low));
    sheet.write("cell: free (wide, grey) and held (blue)", left, 12, { size: 12, weight: 600, most: sheet.width - left });
    drawRowAxis(sheet, row, axis.left, axis.right, 4);
    drawCurve(sheet, axis, row, this.curves.free, { colour: leak, width: 5 });
    drawCurve(sheet, axis, row, this.curves.held, { colour: cell, width: 2 });
    if (this.curves.moved) {
      const moved = new Row(240, 50, 0, Math.max(this.curves.moved.range(0, this.bundle.steps)[1], 1e-9));
      sheet.write("outputs move by (root mean square)", left, 224, { size: 12, weight: 600, most: sheet.width - left });
      drawRowAxis(sheet, moved, axis.left, axis.right, 2);
      drawCurve(sheet, axis, moved, this.curves.moved, { colour: ink, width: 1.3 });
    }
    drawStepAxis(sheet, axis, 296, { first: 0, times: this.known.times, isDate: this.bundle.header.time === "date" });
    sheet.write("step", left - 8, 310, { size: 11, colour: soft, align: "right" });
  }

  say(t) {
    if (t === null || !this.held) { this.hover.textContent = ""; return; }
    const moved = this.curves.values ? `  ·  outputs move by ${digits(this.curves.values[t])}` : "";
    this.hover.textContent = `step ${whole(t)}  ·  cell free ${digits(this.free.c[t])}, held ${digits(this.held.c[t])}${moved}`;
  }

  table() {
    return tableOfSeen(this.seen, ["step", "cell, free", "cell, held", "outputs move by"], (t) => [
      t, digits(this.free.c[t]), digits(this.held.c[t]), this.curves.values ? digits(this.curves.values[t]) : "–"]);
  }
}
