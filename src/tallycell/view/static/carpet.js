// The carpet: all cells over all steps, one line a cell; click to see one of them there.
import { el, announce, tableBehind } from "./dom.js";
import { Sheet, saveButton } from "./sheet.js";
import { StepAxis, drawStepAxis } from "./axes.js";
import { colours, mixed, onTheme } from "./theme.js";
import { chosenUnits } from "./units_table.js";
import { shownState, show } from "./state.js";
import { whole } from "./numbers.js";

const LINE_HEIGHTS = [14, 10, 7, 5, 4, 3, 2];
const MOST_HEIGHT = 460;

/** All cells at once. */
export class Carpet {
  /** @param {import("./bundle.js").Bundle} bundle @param {{times: Float64Array|null}} known */
  constructor(bundle, known) {
    this.bundle = bundle;
    this.known = known;
    this.units = []; // in the order of the table
    this.sheet = new Sheet("All cells over all steps", 240, (sheet) => this.draw(sheet), { tabindex: 0 });
    this.said = el("output", { class: "readout" });
    this.behind = tableBehind("Mean of each cell over ten stretches of the steps, as a share of its size", () => this.table());
    this.box = el("section", { class: "carpet", "aria-label": "Carpet" },
      el("h2", { text: "All cells over everything that was read" }),
      el("p", { class: "note" }, el("span", { class: "key-up", text: "above 0" }), " ", el("span", { class: "key-down",
        text: "below 0" }), " · One line is one cell, in the order of the table below; the stronger, the nearer to its own largest size. Click to see it there."),
      this.sheet.canvas, this.said, el("div", { class: "tools" }, saveButton("the carpet", () => ({
        title: "All cells over everything that was read", canvases: [this.sheet.canvas], file: "carpet.png" }))), this.behind.box);
    this.listen();
    onTheme(() => { this.image = null; });
  }

  async arrive() {
    this.overview ??= await this.bundle.array("overview");
    const { units } = chosenUnits(this.bundle);
    if (units === this.units) return;
    Object.assign(this, { units, image: null, pointed: null });
    this.sheet.redraw();
  }

  listen() {
    const { canvas } = this.sheet;
    const placeOf = (event) => {
      const box = canvas.getBoundingClientRect();
      return { row: Math.floor((event.clientY - box.top) / this.each), step: this.axis?.stepAt(event.clientX - box.left) };
    };
    canvas.addEventListener("pointermove", (event) => {
      const { row, step } = placeOf(event);
      this.said.textContent = this.units[row] ? this.say(this.units[row], step) : "";
      this.pointed = this.units[row] ? { row, step } : null;
      this.sheet.redraw();
    });
    canvas.addEventListener("pointerleave", () => { this.pointed = null; this.said.textContent = ""; this.sheet.redraw(); });
    canvas.addEventListener("click", () => this.open());
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
      if (event.key === "Enter") { this.open(); return; }
      if (!by || !this.units.length) return;
      event.preventDefault();
      const now = this.pointed ?? { row: 0, step: 0 };
      const far = Math.max(1, Math.round(this.bundle.steps / 50));
      this.pointed = { row: Math.min(Math.max(now.row + by[0], 0), this.units.length - 1),
        step: Math.min(Math.max(now.step + by[1] * far, 0), this.bundle.steps - 1) };
      this.said.textContent = this.say(this.units[this.pointed.row], this.pointed.step);
      announce(this.said.textContent);
      this.sheet.redraw();
    });
  }

  open() {
    if (!this.pointed) return;
    const half = Math.min(200, this.bundle.steps / 2);
    const from = Math.max(0, Math.round(this.pointed.step - half));
    show({ view: "unit", unit: this.units[this.pointed.row].label, at: null, mark: null,
      steps: `${from}-${Math.min(this.bundle.steps, from + Math.round(2 * half))}` }, { push: true });
  }

  say(unit, step) {
    const share = (this.valueOf(this.bundle.number.get(unit.label), this.columnOf(step)) - 128) / 127;
    return `Unit ${unit.label} near step ${whole(step)}: ${Math.round(share * 100)} % of its size. ${unit.sentence.split("; ")[0]}`;
  }

  get columns() { return this.bundle.header.columns; }

  columnOf(step) {
    return Math.min(this.columns - 1, Math.floor(step / this.bundle.steps * this.columns));
  }

  valueOf(number, column) {
    return this.overview[number * this.columns + column];
  }

  /** One pixel a cell and column. */
  picture() {
    const { up, down, paper } = colours();
    const steps = 33;
    const shades = [down, up].map((colour) => Array.from({ length: steps }, (_, k) => mixed(colour, paper, k / (steps - 1))
      .match(/\d+/g).map(Number)));
    const made = document.createElement("canvas");
    made.width = this.columns;
    made.height = this.units.length;
    const pen = made.getContext("2d");
    const pixels = pen.createImageData(made.width, made.height);
    this.units.forEach((unit, row) => {
      const number = this.bundle.number.get(unit.label);
      for (let column = 0; column < this.columns; column += 1) {
        const share = (this.valueOf(number, column) - 128) / 127;
        const [r, g, b] = shades[Number(share > 0)][Math.round(Math.min(1, Math.abs(share)) ** 0.75 * (steps - 1))];
        const at = 4 * (row * this.columns + column);
        pixels.data.set([r, g, b, 255], at);
      }
    });
    pen.putImageData(pixels, 0, 0);
    return made;
  }

  draw(sheet) {
    if (!this.overview) return;
    const count = Math.max(this.units.length, 1);
    this.each = LINE_HEIGHTS.find((one) => one * count <= MOST_HEIGHT) ?? MOST_HEIGHT / count;
    const bottom = this.each * this.units.length;
    sheet.resize(Math.ceil(bottom + 26));
    const left = count * 9 < MOST_HEIGHT ? 52 : 0;
    this.axis = new StepAxis(left, sheet.width, { from: 0, to: this.bundle.steps });
    const { ink, soft, accent } = colours();
    if (!this.units.length) return;
    this.image ??= this.picture();
    sheet.pen.imageSmoothingEnabled = false;
    sheet.pen.drawImage(this.image, left, 0, sheet.width - left, bottom);
    if (left) this.units.forEach((unit, row) => sheet.write(unit.label, left - 8, (row + 0.5) * this.each,
      { size: Math.min(11, this.each + 1), colour: unit.label === shownState().unit ? accent : soft, align: "right" }));
    const one = this.bundle.header.sequences.length === 1;
    drawStepAxis(sheet, this.axis, bottom, { first: 0, times: one ? this.known.times : null,
      isDate: one && this.bundle.header.time === "date" });
    for (const edge of this.bundle.start.slice(1, -1)) sheet.line(this.axis.x(edge), 0, this.axis.x(edge), bottom, ink, 0.7);
    if (!this.pointed) return;
    const y = (this.pointed.row + 0.5) * this.each;
    sheet.line(left, y, sheet.width, y, ink, Math.max(0.6, Math.min(1, this.each / 6)), [3, 2]);
    sheet.line(this.axis.middle(this.pointed.step), 0, this.axis.middle(this.pointed.step), bottom, ink, 0.6, [3, 2]);
  }

  table() {
    const parts = Math.min(10, this.columns);
    const rows = this.units.slice(0, 200).map((unit) => {
      const number = this.bundle.number.get(unit.label);
      return [unit.label, ...Array.from({ length: parts }, (_, k) => {
        const [from, to] = [Math.floor(k / parts * this.columns), Math.floor((k + 1) / parts * this.columns)];
        let sum = 0;
        for (let column = from; column < to; column += 1) sum += this.valueOf(number, column) - 128;
        return Math.round(sum / (to - from) / 127 * 100) / 100;
      })];
    });
    const heads = Array.from({ length: parts }, (_, k) => `from ${whole(Math.floor(k / parts * this.bundle.steps))}`);
    return { heads: ["unit", ...heads], rows, note: this.units.length > 200 ? "The first 200 units." : "" };
  }
}
