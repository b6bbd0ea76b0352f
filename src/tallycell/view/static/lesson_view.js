// The lesson: four screens, one idea each.
import { el, fill, button, announce, tableBehind } from "./dom.js";
import { digits, whole } from "./numbers.js";
import { shownState, show } from "./state.js";
import { Sheet } from "./sheet.js";
import { colours } from "./theme.js";
import { Row, StepAxis, drawRowAxis, drawStepAxis } from "./axes.js";
import { Machine, Network, acceptedStrings, cellsOfCounters, runOfUnit } from "./machine.js";
import { drawRun, tableOfRun, brief, RUN_HEIGHT } from "./run_picture.js";
import { Stepper } from "./stepper.js";
import { PlayView } from "./play_view.js";
import { countUntilWrong, countToTheEnd, binaryDigits } from "./lesson.js";

const [FEWEST, MOST] = [20, 60]; // lengths in the picture of what is left
const LAST = 2 ** 24;

/** Screen 1: a string goes through the cell that counts. */
class CountScreen {
  constructor(about, machine, unit) {
    Object.assign(this, { about, machine, unit, network: new Network(about.network) });
    this.stepper = new Stepper(about, acceptedStrings(machine)[2]);
    this.sheet = new Sheet("Gates and cell, symbol by symbol", RUN_HEIGHT, (sheet) => drawRun(sheet, this.run, this.stepper.at - 1));
    this.verdict = el("p", { class: "verdict-line" });
    this.behind = tableBehind("Each symbol", () => tableOfRun(this.run, this.stepper.at - 1));
    this.side = [this.stepper.field, this.stepper.controls, this.verdict];
    this.stage = [el("div", { class: "picture" }, this.sheet.canvas),
      el("ul", { class: "legend" }, el("li", { class: "key-cell", text: "the cell of the LSTM" }), el("li", { class: "key-tally", text: "an exact count" })),
      this.behind.box];
  }

  arrive() {
    const { stepper, machine, network, about } = this;
    if (stepper.arrive()) {
      this.walked = network.walk(stepper.codes);
      this.counters = machine.walk(stepper.codes);
      let tally = 0;
      this.run = runOfUnit(about, stepper.codes, this.walked, this.unit, stepper.codes.map((k) => { tally += k ? -1 : 1; return tally; }));
    }
    const { at, codes } = stepper;
    const accepted = at > 0 && network.says(this.walked[at])[about.accept];
    const said = !at ? "Nothing is read yet." : `After ${whole(at)} of ${whole(codes.length)} the cell holds ${brief(this.run.c[at - 1])}: the LSTM `
      + `${accepted ? "accepts" : "does not accept"} what it has read.`;
    this.verdict.textContent = `${said} ${stepper.remark()}`.trim();
    stepper.say(at ? `read ${whole(at)} of ${whole(codes.length)}` : "at the start");
    this.sheet.redraw();
    this.behind.update();
  }
}

/** Screen 3: a leak and a short step, and where they are seen. */
class BreakScreen {
  constructor(machine, unit) {
    Object.assign(this, { machine, unit });
    const slider = (name, about) => el("input", { type: "range", ...about, on: { input: (event) => show({ [name]: event.target.value }) } });
    this.leak = slider("leak", { min: 0, max: 0.05, step: 0.001, "aria-label": "Leak of the forget gate" });
    this.up = slider("up", { min: 0.9, max: 1, step: 0.005, "aria-label": "Step at an a" });
    this.leakSays = el("span", { class: "slider-says" });
    this.upSays = el("span", { class: "slider-says" });
    this.verdict = el("p", { class: "verdict-line" });
    this.sheet = new Sheet("What is left in the cell after n a and n b", 356, (sheet) => this.draw(sheet));
    this.behind = tableBehind("What is left in the cell", () => ({ heads: ["n", "left after n a and n b", "right"],
      rows: this.found.left.slice(0, this.seen()).map((left, k) => [k + 1, digits(left), this.found.right[k] ? "yes" : "no"]) }));
    this.side = [
      el("div", { class: "controls" }, button("Leak 2 %", () => show({ leak: 0.02, up: 1 })), button("Step of 0.98", () => show({ leak: 0, up: 0.98 })),
        button("Mend it", () => show({ leak: null, up: null }), { class: "quiet" })),
      el("div", { class: "sliders" },
        el("label", { class: "field" }, el("span", {}, "The forget gate loses"), this.leak, this.leakSays),
        el("label", { class: "field" }, el("span", {}, "An a adds"), this.up, this.upSays)),
      this.verdict];
    this.stage = [el("div", { class: "picture" }, this.sheet.canvas), this.behind.box];
  }

  arrive() {
    const { leak, up } = shownState();
    const broken = { leak: within(leak, 0, 0.05, 0), up: within(up, 0.9, 1, 1) };
    if (JSON.stringify(broken) === JSON.stringify(this.broken)) return;
    this.broken = broken;
    this.found = countUntilWrong(this.machine, broken, this.unit);
    this.leak.value = broken.leak;
    this.up.value = broken.up;
    this.leakSays.textContent = `${digits(100 * broken.leak)} %`;
    this.upSays.textContent = digits(broken.up);
    const { first, why, left } = this.found;
    this.verdict.textContent = first === null ? `It is right for every n up to ${whole(left.length)}.`
      : `It miscounts at n = ${first}: ${why}. ${whole(first)} a and as many b leave ${digits(left[first - 1])} in the cell, not 0.`;
    announce(this.verdict.textContent);
    this.sheet.redraw();
    this.behind.update();
  }

  /** How many lengths are drawn: those around the first that is wrong. */
  seen() {
    return Math.min(Math.max(3 * (this.found.first ?? MOST), FEWEST), MOST);
  }

  draw(sheet) {
    const { cell, down, soft, ink, line } = colours();
    const count = this.seen();
    const { left, right, first } = this.found;
    const axis = new StepAxis(sheet.width < 560 ? 46 : 60, sheet.width - 10, { from: 1, to: count + 1 });
    const seen = left.slice(0, count);
    const row = new Row(40, 260, Math.min(-1, ...seen) * 1.06, Math.max(1, ...seen));
    sheet.write("left after n a and n b: it should be 0", axis.left, 14, { weight: 600, most: axis.right - axis.left });
    drawRowAxis(sheet, row, axis.left, axis.right, 4);
    sheet.line(axis.left, row.y(0) + 0.5, axis.right, row.y(0) + 0.5, soft, 1);
    seen.forEach((value, k) => {
      const y = Math.min(row.y(value), row.top + row.height);
      const x = axis.middle(k + 1);
      sheet.line(x, row.y(0), x, y, right[k] ? line : down, 1);
      if (right[k]) {
        sheet.pen.beginPath();
        sheet.pen.arc(x, y, 3, 0, 2 * Math.PI);
        sheet.pen.fillStyle = cell;
        sheet.pen.fill();
      } else {
        sheet.line(x - 3.5, y - 3.5, x + 3.5, y + 3.5, down, 2);
        sheet.line(x - 3.5, y + 3.5, x + 3.5, y - 3.5, down, 2);
      }
    });
    if (first !== null && first <= count) {
      const x = axis.middle(first);
      sheet.line(x, row.top - 6, x, row.top + row.height, down, 1, [4, 4]);
      sheet.write(`wrong at n = ${first}`, Math.min(x + 6, axis.right - 110), row.top - 2, { weight: 600, colour: down });
    }
    drawStepAxis(sheet, axis, 312, { first: 0, times: null, isDate: false });
    sheet.write("n    • counted right   × counted wrong", (axis.left + axis.right) / 2, 344, { size: 12, colour: ink, align: "center" });
  }
}

/** A number of the address, or another where it makes no sense. */
function within(text, low, high, otherwise) {
  const value = text === undefined ? NaN : Number(text);
  return value >= low && value <= high ? value : otherwise;
}

/** Screen 4: the largest count of float32. */
class EndScreen {
  constructor() {
    this.now = el("p", { class: "great-number", role: "status" });
    this.verdict = el("p", { class: "verdict-line" });
    this.sheet = new Sheet("The number in binary, and the 24 digits that float32 keeps", 92, (sheet) => this.draw(sheet));
    this.behind = tableBehind("Adding 1 in float32 and in float64", () => ({ heads: ["number", "+ 1 in float32", "+ 1 in float64"],
      rows: [-2, -1, 0, 1, 2].map((by) => [whole(LAST + by), whole(Math.fround(Math.fround(LAST + by) + 1)), whole(LAST + by + 1)]) }));
    this.side = [
      el("div", { class: "controls" }, button("Add 1", () => this.add(), { class: "primary" }), button("Count from 0 to the end", () => this.count()),
        button("Go back to 16,777,212", () => show({ number: null }), { class: "quiet" })),
      this.verdict];
    this.stage = [this.now, el("div", { class: "picture" }, this.sheet.canvas), this.behind.box];
  }

  arrive() {
    const value = Math.fround(Math.round(within(shownState().number, 0, 2 ** 30, LAST - 4)));
    if (value === this.value) return;
    this.value = value;
    this.now.textContent = whole(value);
    const next = Math.fround(value + 1);
    this.verdict.textContent = next !== value ? `${whole(value)} + 1 = ${whole(next)}`
      : `${whole(value)} + 1 = ${whole(next)}. The count stands still: 2²⁴ + 1 needs 25 binary digits, and float32 keeps 24.`;
    this.sheet.redraw();
  }

  add() {
    const next = Math.fround(this.value + 1);
    if (next === this.value) {
      this.now.classList.remove("is-stuck");
      requestAnimationFrame(() => this.now.classList.add("is-stuck"));
      announce(this.verdict.textContent);
    } else show({ number: next });
  }

  count() {
    const began = performance.now();
    const end = countToTheEnd();
    const took = performance.now() - began;
    show({ number: end });
    this.verdict.textContent = `${whole(end)} additions later (${whole(took)} ms in this browser) adding 1 changes nothing any more: `
      + "2²⁴ + 1 needs 25 binary digits, and float32 keeps 24.";
    announce(this.verdict.textContent);
  }

  draw(sheet) {
    const { accent, faint, soft, ink, down, paper } = colours();
    const wanted = binaryDigits(this.value + 1);
    const size = Math.min(34, (sheet.width - 4) / 25);
    const left = 0;
    const offset = 24 - Math.min(wanted.length, 24);
    sheet.write(`${whole(this.value)} + 1 in binary`, left, 10, { weight: 600, most: sheet.width - left });
    for (let k = 0; k < 25; k += 1) {
      const digit = wanted[k - offset];
      const isKept = k < 24;
      const x = left + k * size;
      sheet.bar(x + 1, 26, size - 2, 34, digit === 1 ? (isKept ? accent : down) : faint);
      sheet.bar(x + 2.5, 27.5, size - 5, 31, digit === 1 ? (isKept ? accent : down) : paper);
      if (digit !== undefined) {
        sheet.write(String(digit), x + size / 2, 43, { size: Math.min(16, size), align: "center", weight: 650, colour: digit === 1 ? paper : ink });
      }
    }
    sheet.line(left + 1, 68, left + 24 * size - 1, 68, soft);
    sheet.write("float32 keeps these 24 digits", left + 12 * size, 80, { size: 12, align: "center", colour: soft });
    sheet.write("lost", left + 24.5 * size, 80, { size: 12, align: "center", colour: down });
  }
}

/** The four screens. */
export class LessonView {
  /** @param {Object<string, any>} about the header's machine, of aⁿbⁿ */
  constructor(about) {
    const machine = new Machine(about);
    const [unit] = cellsOfCounters(machine, new Network(about.network));
    const play = new PlayView({ inside: true });
    this.screens = [
      { short: "Count", title: "A cell can count", make: () => new CountScreen(about, machine, unit),
        text: ["This LSTM has three cells. Nobody trained it: its weights were computed from a short program.",
          `Cell ${unit} adds 1 at each a and takes 1 at each b. Press Watch, then type a string of your own: too many b, too few.`] },
      { short: "Gates", title: "Six things to say to a cell", make: () => play,
        text: ["The forget gate resets or keeps. The input gate decides whether anything is written, the candidate whether up or down. The output gate shows or hides.",
          "A gate pushed hard is open or closed. Make the strength small, and it is neither."] },
      { short: "Break it", title: "A counter must lose nothing", make: () => new BreakScreen(machine, unit),
        text: ["Counting needs a forget gate that keeps everything, and steps up and down of the same size.",
          "Break either a little. Short strings still come out right; then it miscounts."] },
      { short: "The end", title: "Every counter ends somewhere", make: () => new EndScreen(),
        text: ["In float32 these gates are exactly 1, so each step is exact, for sixteen million steps. Then the cell runs out of digits."] },
    ];
    this.nav = el("nav", { class: "screens", "aria-label": "Screens of the lesson" },
      ...this.screens.map(({ short }, k) => button(`${k + 1} ${short}`, () => this.open(k), { "data-screen": k })));
    this.place = el("div", { class: "screen" });
    this.ends = el("div", { class: "ends" });
    this.box = el("section", { class: "view lesson", "aria-label": "Lesson" }, this.nav, this.place, this.ends);
  }

  open(k) {
    show({ screen: k ? k + 1 : null }, { push: true });
    this.heading.focus();
    scrollTo(0, 0);
  }

  arrive() {
    const wanted = Math.round(within(shownState().screen, 1, this.screens.length, 1)) - 1;
    const screen = this.screens[wanted];
    screen.made ??= screen.make();
    if (wanted !== this.number) {
      this.number = wanted;
      this.heading = el("h1", { tabindex: -1, text: screen.title });
      fill(this.place, this.heading, el("div", { class: "staged" },
        el("div", { class: "side" }, ...screen.text.map((text) => el("p", { class: "telling", text })), ...screen.made.side),
        el("div", { class: "stage" }, ...screen.made.stage)));
      for (const one of this.nav.children) {
        if (Number(one.dataset.screen) === wanted) one.setAttribute("aria-current", "step");
        else one.removeAttribute("aria-current");
      }
      this.fillEnds(wanted);
      announce(`${wanted + 1} of ${this.screens.length}: ${screen.title}`);
    }
    screen.made.arrive();
  }

  fillEnds(k) {
    const next = this.screens[k + 1];
    fill(this.ends, k ? button(`Back: ${this.screens[k - 1].short}`, () => this.open(k - 1)) : el("span"),
      next ? button(`Next: ${next.short}`, () => this.open(k + 1), { class: "primary" })
        : button("Next: the machine that it is", () => { show({ view: "machine" }, { push: true }); scrollTo(0, 0); }, { class: "primary" }));
  }
}
