// Machine: a program and its diagram; a string goes through it, and through the cells of an LSTM, side by side.
import { el, fill, button, announce, tableBehind } from "./dom.js";
import { digits, counted } from "./numbers.js";
import { show } from "./state.js";
import { Sheet, saveButton } from "./sheet.js";
import { Stepper } from "./stepper.js";
import { Machine, Network, writeSymbols, nearMisses, acceptedStrings, cellsOfCounters } from "./machine.js";
import { diagramFor, drawDiagram, drawRows, rowsHeight } from "./machine_picture.js";

const MOST_ROWS = 16;

/** Strings by which a machine is shown first. */
export function examplesOf(machine) {
  const accepted = acceptedStrings(machine);
  if (accepted.length) return accepted;
  const codes = machine.about.symbols.map((_, k) => k).slice(0, 6);
  return [[...codes, ...codes]];
}

/** Says a list of outputs. */
function outputsText(about, says) {
  const said = about.outputs.filter((_, k) => says[k]);
  return said.length ? said.map((one) => `“${one}”`).join(", ") : "nothing";
}

/** The view of a machine. */
export class MachineView {
  /** @param {Object<string, any>} about the header's machine */
  constructor(about) {
    this.about = about;
    this.machine = new Machine(about);
    this.network = new Network(about.network);
    this.examples = examplesOf(this.machine);
    this.holders = cellsOfCounters(this.machine, this.network);
    this.title = el("h1", { class: "sentence" });
    this.says = el("p", { class: "rest" });
    this.make();
  }

  make() {
    this.stepper = new Stepper(this.about, this.examples.find((one) => one.length >= 5) ?? this.examples[this.examples.length - 1]);
    this.misses = el("div", { class: "misses", role: "group", "aria-label": "Near misses" });
    this.samples = el("div", { class: "misses", role: "group", "aria-label": "Accepted strings" });
    this.program = el("div", { class: "program", role: "region", "aria-label": "Program", tabindex: 0 });
    this.diagram = new Sheet("State diagram", 200, (sheet) => {
      const { diagram, scale } = diagramFor(this.about, sheet.width);
      const height = Math.ceil(diagram.size[1] * scale) + 6;
      this.edges.textContent = diagram.edges.filter((edge) => edge.number !== null).map((edge) => `${edge.number}: ${edge.lines.join("; ")}`).join("\n");
      if (height !== sheet.height) sheet.resize(height);
      else drawDiagram(sheet, this.about, this.walked[this.at]);
    });
    this.edges = el("pre", { class: "edges" });
    this.sheet = new Sheet("Counters of the machine and cells of the LSTM, step by step", 200, (sheet) => drawRows(sheet,
      { heading: "reads", labels: this.codes.map((k) => this.about.shown[k]), rows: this.rows(), at: this.at }));
    this.note = el("p", { class: "note" });
    this.behind = tableBehind("Counters and cells after each symbol", () => this.table());
    const group = (text, box) => el("div", { class: "field-row" }, el("span", { class: "label", text }), box);
    this.box = el("section", { class: "view machine", "aria-label": "Machine" },
      el("div", { class: "unit-head" }, this.title, this.says),
      el("div", { class: "unit-body" },
        this.stepper.field, group("Near misses", this.misses), this.examples.length > 1 ? group("It accepts", this.samples) : null,
        this.stepper.controls),
      el("div", { class: "program-and-diagram" }, this.program,
        el("div", { class: "unit-body" }, el("div", { class: "picture" }, this.diagram.canvas, this.edges),
          el("div", { class: "picture" }, this.sheet.canvas),
          el("ul", { class: "legend" }, el("li", { class: "key-cell", text: "a cell of the LSTM" }), el("li", { class: "key-tally", text: "a counter of the machine" })),
          this.note,
          el("div", { class: "tools" }, saveButton("the machine", () => ({ title: `${this.title.textContent} ${this.says.textContent}`, canvases: [this.diagram.canvas, this.sheet.canvas], file: "machine.png" }))),
          this.behind.box)));
    fill(this.program, ...this.about.program.map(({ state, text }) => el("pre", { class: "block", "data-state": state, text })));
    fill(this.samples, ...this.examples.map((codes) => this.sample(codes)));
  }

  aboutCells() {
    const { counters, network } = this.about;
    const held = counters.flatMap((name, j) => (this.holders[j] < 0 ? [] : [`cell ${this.holders[j]} holds the counter ${name}`]));
    const others = network.units - new Set(this.holders.filter((u) => u >= 0)).size;
    if (others) held.push(held.length ? "the others are its control" : counters.length ? "no cell holds a counter as it is" : "its cells are its control");
    return `This LSTM of ${counted(network.units, "cell")} has sigmoid and tanh, and runs here in double precision: ${held.join(", ")}.`;
  }

  sample(codes) {
    const text = writeSymbols(codes, this.about.symbols);
    const written = codes.map((k) => this.about.shown[k]).join(this.about.symbols.some((one) => one.length > 1) ? " " : "");
    const does = this.about.accept === null ? "" : this.machine.accepts(codes) ? "accepted" : "not accepted";
    const one = button("", () => { show({ string: text, step: null }); announce(this.title.textContent); },
      { class: "sample", "aria-label": `${written}${does && `, ${does}`}` });
    one.append(el("span", { class: "fixed", text: written }),
      el("span", { class: "verdict", text: { accepted: "✓", "not accepted": "✗" }[does] ?? "" }));
    return one;
  }

  arrive() {
    if (this.stepper.arrive()) this.take();
    this.at = this.stepper.at;
    this.update();
  }

  take() {
    this.codes = this.stepper.codes;
    this.walked = this.machine.walk(this.codes);
    this.cells = this.network.walk(this.codes);
    fill(this.misses, ...nearMisses(this.codes).map((codes) => this.sample(codes)));
    const still = Array.from({ length: this.about.network.units }, (_, u) => u).filter((u) => !this.holders.includes(u) && this.isStill(u));
    this.note.textContent = this.aboutCells() + (still.length ? ` Not drawn, because they stay at 0 here: ${still.join(", ")}.` : "");
    this.sheet.resize(rowsHeight(this.rows().length));
  }

  update() {
    const { title, rest } = this.sentences();
    this.title.textContent = title;
    this.says.textContent = rest;
    this.stepper.say(this.sayStep());
    const now = this.walked[this.at];
    for (const block of this.program.children) {
      const isNow = block.dataset.state === String(now.state);
      block.classList.toggle("is-now", isNow);
      if (isNow) this.program.scrollTop = Math.min(block.offsetTop, Math.max(this.program.scrollTop, block.offsetTop + block.offsetHeight - this.program.clientHeight));
    }
    for (const sheet of [this.diagram, this.sheet]) sheet.redraw();
    this.behind.update();
  }

  sentences() {
    const { about, codes, walked } = this;
    const end = walked[codes.length];
    const long = codes.length > 30;
    const text = codes.length ? `“${codes.slice(0, 30).map((k) => about.shown[k]).join("")}${long ? "…" : ""}”` : "The empty string";
    const failed = walked.findIndex((one) => one.failed);
    const title = about.accept === null ? `After ${text} the machine says ${outputsText(about, this.machine.says(end))}.`
      : `${text} is ${this.machine.says(end)[about.accept] ? "" : "not "}accepted.`;
    const differs = walked.findIndex((one, t) => t > 0 && String(this.machine.says(one)) !== String(this.network.says(this.cells[t])));
    const parts = [
      this.stepper.remark(),
      failed > 0 ? `It fails at symbol ${failed}, ${about.shown[codes[failed - 1]]}: no rule allows it there.`
        : end.counters.map((value, j) => `${about.counters[j]} ends at ${digits(value)}`).join(", ") + (end.counters.length ? "." : ""),
      !codes.length ? "" : differs < 0 ? `The LSTM says the same after each of the ${counted(codes.length, "symbol")}.` : `The LSTM says something else after symbol ${differs}.`,
    ];
    return { title, rest: parts.filter(Boolean).join(" ") };
  }

  sayStep() {
    const { about, at } = this;
    const now = this.walked[at];
    const where = now.failed ? "fail" : about.states[now.state];
    const counters = now.failed ? "" : now.counters.map((value, j) => `  ·  ${about.counters[j]} = ${digits(value)}`).join("");
    return `${at ? `after ${at}` : "at the start"}  ·  ${where}${counters}${at ? `  ·  says ${outputsText(about, this.machine.says(now))}` : ""}`;
  }

  /** Rows of the picture: cells with the counters that they hold, then counters that no cell holds. */
  rows() {
    const { about, holders } = this;
    const counter = (j) => this.walked.slice(1).map((now) => (now.failed ? null : now.counters[j]));
    const cell = (u) => this.cells.slice(1).map((now) => now.c[u]);
    const units = Array.from({ length: Math.min(about.network.units, MOST_ROWS) }, (_, u) => u);
    const held = holders.flatMap((u, j) => (u < 0 ? [] : [{ name: `cell ${u}`, does: `counter ${about.counters[j]}`, cell: cell(u), counted: counter(j) }]));
    const lone = holders.flatMap((u, j) => (u < 0 ? [{ name: about.counters[j], does: "counter", cell: null, counted: counter(j) }] : []));
    const others = units.filter((u) => !holders.includes(u) && !this.isStill(u)).map((u) => ({ name: `cell ${u}`, does: "control", cell: cell(u), counted: null }));
    return [...held, ...lone, ...others];
  }

  /** Whether a cell stays at 0 throughout the string. */
  isStill(u) {
    return this.codes.length > 0 && this.cells.every((now) => Math.abs(now.c[u]) < 0.005);
  }

  table() {
    const rows = this.rows();
    return { heads: ["after", "reads", "state", ...rows.flatMap((row) => [...(row.cell ? [row.name] : []), ...(row.counted ? [row.cell ? row.does : row.name] : [])])],
      rows: this.codes.map((k, t) => [t + 1, this.about.shown[k], this.walked[t + 1].failed ? "fail" : this.about.states[this.walked[t + 1].state],
        ...rows.flatMap((row) => [...(row.cell ? [digits(row.cell[t])] : []), ...(row.counted ? [digits(row.counted[t])] : [])])]) };
  }
}
