// Play: one cell, six buttons, and any pair of squashing functions.
import { el, fill, button, dropDown, announce, tableBehind } from "./dom.js";
import { digits } from "./numbers.js";
import { shownState, show } from "./state.js";
import { Sheet, saveButton } from "./sheet.js";
import { Row } from "./axes.js";
import { colours } from "./theme.js";
import { GATE_FUNCTIONS, CELL_FUNCTIONS } from "./squashing.js";
import { PRESSES, runCell, judgeCell, sayStep } from "./play.js";
import { drawRun, tableOfRun, RUN_HEIGHT } from "./run_picture.js";

const MOST_PRESSES = 400;
const FIRST = "uuukkdhsru";
const GROUPS = [["forget gate", "kr"], ["input gate", "ud"], ["output gate", "sh"]];
const DIALS = [["f", "forget gate"], ["i", "input gate"], ["g", "candidate"], ["o", "output gate"], ["c", "cell, on its way out"]];
const DIAL_HEIGHT = 132;

/** What the address says of the cell, as far as it makes sense. */
function playState() {
  const state = shownState();
  const strength = Number(state.strength);
  const pressed = [...(state.pressed ?? FIRST)].filter((one) => Object.hasOwn(PRESSES, one)).slice(-MOST_PRESSES).join("");
  return {
    pressed,
    how: {
      gates: Object.hasOwn(GATE_FUNCTIONS, state.gates ?? "") ? state.gates : "sigmoid",
      squash: Object.hasOwn(CELL_FUNCTIONS, state.squash ?? "") ? state.squash : "tanh",
      strength: strength >= 0.5 && strength <= 20 ? strength : 10,
    },
  };
}

/** The view with the six buttons. */
export class PlayView {
  /** @param {{inside?: boolean}} [how] inside: it is a part of another view, and has no heading of the first rank */
  constructor({ inside = false } = {}) {
    this.title = el(inside ? "h2" : "h1", { class: "sentence" });
    this.presses = el("div", { class: "presses", role: "group", "aria-label": "What the next step does" }, ...GROUPS.map(([name, letters]) =>
      el("div", { class: "press-pair" }, el("span", { class: "label", text: name }), ...[...letters].map((letter) =>
        button(PRESSES[letter].text, () => this.press(letter), { title: PRESSES[letter].title, class: "press" })))));
    this.functions = el("div", { class: "controls" });
    this.equation = el("output", { class: "equation" });
    this.picture = new Sheet("Gates, cell and what is shown, step by step", RUN_HEIGHT, (sheet) => drawRun(sheet, this.run, this.run.c.length - 1));
    this.dials = new Sheet("The last step: each pre-activation on its squashing function", DIAL_HEIGHT, (sheet) => this.drawDials(sheet));
    this.behind = tableBehind("Every step", () => tableOfRun(this.run, this.run.c.length - 1));
    this.side = [this.title, this.presses,
      el("div", { class: "tools" }, button("Take back", () => this.back(), { class: "quiet" }), button("Begin again", () => show({ pressed: "" }), { class: "quiet" }),
        saveButton("the cell", () => ({ title: this.title.textContent, canvases: [this.picture.canvas, this.dials.canvas], file: "cell.png" }))),
      this.equation];
    this.stage = [el("div", { class: "picture" }, this.picture.canvas),
      el("ul", { class: "legend" }, el("li", { class: "key-cell", text: "the cell" }), el("li", { class: "key-tally", text: "an exact count" })),
      this.functions, el("div", { class: "picture" }, this.dials.canvas), this.behind.box];
    this.box = el("section", { class: "view play", "aria-label": "Play" }, el("div", { class: "staged" },
      el("div", { class: "side" }, ...this.side), el("div", { class: "stage" }, ...this.stage)));
  }

  press(letter) {
    show({ pressed: (playState().pressed + letter).slice(-MOST_PRESSES) });
    const t = this.run.c.length - 1;
    announce(`${PRESSES[letter].text}: the cell holds ${digits(this.run.c[t])}, ${digits(this.run.shown[t])} is shown`);
  }

  back() {
    show({ pressed: playState().pressed.slice(0, -1) });
  }

  arrive() {
    const { pressed, how } = playState();
    if (this.how && JSON.stringify(how) === JSON.stringify(this.how) && pressed === this.pressed) return;
    if (JSON.stringify(how) !== JSON.stringify(this.how)) this.fillFunctions(how);
    Object.assign(this, { pressed, how, run: runCell(pressed, how) });
    this.title.textContent = judgeCell(how);
    this.equation.textContent = sayStep(this.run, this.run.c.length - 1, how.squash);
    this.picture.redraw();
    this.dials.redraw();
    this.behind.update();
  }

  fillFunctions(how) {
    const options = (all) => Object.entries(all).map(([value, { text }]) => ({ value, text }));
    if (!this.functions.firstChild) {
      this.slider = el("input", { type: "range", min: 0.5, max: 20, step: 0.5, "aria-label": "Strength of the signal",
        on: { input: () => show({ strength: this.slider.value }) } });
      this.sliderSays = el("span", { class: "slider-says" });
      this.gates = dropDown("Gates", options(GATE_FUNCTIONS), how.gates, (value) => show({ gates: value }));
      this.cell = dropDown("Candidate and way out", options(CELL_FUNCTIONS), how.squash, (value) => show({ squash: value }));
      fill(this.functions, this.gates, this.cell, el("label", { class: "field" }, el("span", {}, "Strength"), this.slider, this.sliderSays));
    }
    this.gates.lastChild.value = how.gates;
    this.cell.lastChild.value = how.squash;
    this.slider.value = how.strength;
    this.sliderSays.textContent = `±${digits(how.strength)}`;
  }

  drawDials(sheet) {
    const per = sheet.width >= 600 ? 5 : sheet.width >= 480 ? 3 : 2;
    const rows = Math.ceil(DIALS.length / per);
    sheet.resize(rows * DIAL_HEIGHT);
    if (sheet.canvas.clientHeight !== sheet.height) return; // it is drawn again in its new height
    const t = this.run.c.length - 1;
    DIALS.forEach(([name, text], k) => {
      const width = sheet.width / per;
      this.drawDial(sheet, { left: (k % per) * width, top: Math.floor(k / per) * DIAL_HEIGHT, width: width - 18 }, name, text, t);
    });
  }

  drawDial(sheet, { left, top, width }, name, text, t) {
    const { ink, soft, line, accent, faint } = colours();
    const { gates, squash, strength } = this.how;
    const isGate = name !== "g" && name !== "c";
    const { of } = isGate ? GATE_FUNCTIONS[gates] : CELL_FUNCTIONS[squash];
    const x = t < 0 ? null : name === "c" ? this.run.c[t] : this.run.pre[t][name];
    const most = name === "c" ? Math.max(3, Math.abs(x ?? 0) * 1.15) : Math.max(2, strength * 1.15);
    const values = Array.from({ length: 97 }, (_, k) => of(-most + (2 * most * k) / 96));
    const row = new Row(top + 44, DIAL_HEIGHT - 66, Math.min(isGate ? 0 : -1, ...values), Math.max(1, ...values));
    const across = (value) => left + (width * (value + most)) / (2 * most);
    sheet.write(text, left, top + 10, { size: 12.5, weight: 600, colour: ink, most: width });
    sheet.write(x === null ? "–" : `${digits(x)} gives ${digits(of(x))}`, left, top + 27, { size: 12, colour: soft, most: width });
    sheet.line(left, row.y(0) + 0.5, left + width, row.y(0) + 0.5, line);
    sheet.line(across(0), row.top, across(0), row.top + row.height, line);
    const { pen } = sheet;
    pen.beginPath();
    values.forEach((value, k) => pen.lineTo(left + (width * k) / 96, row.y(value)));
    pen.strokeStyle = faint;
    pen.lineWidth = 2.5;
    pen.stroke();
    if (x === null) return;
    sheet.line(across(x), row.y(0), across(x), row.y(of(x)), accent, 1.5, [3, 3]);
    pen.beginPath();
    pen.arc(across(x), row.y(of(x)), 5.5, 0, 2 * Math.PI);
    pen.fillStyle = accent;
    pen.fill();
  }
}
