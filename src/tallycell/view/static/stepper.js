// A string that is read step by step: typed, watched, or moved by hand; string and step stand in the address.
import { el, button, announce } from "./dom.js";
import { shownState, show } from "./state.js";
import { readSymbols, writeSymbols } from "./machine.js";

const PACE = 550; // milliseconds a step

/** The controls of a string. */
export class Stepper {
  /**
   * @param {Object<string, any>} about the header's machine
   * @param {number[]} first what is read if the address says nothing
   */
  constructor(about, first) {
    Object.assign(this, { about, first: writeSymbols(first, about.symbols), codes: [], at: 0, text: null, stranger: null, cut: false });
    this.input = el("input", { "aria-label": "String", spellcheck: "false", autocomplete: "off", autocapitalize: "off", maxlength: 2000,
      class: "string", on: { input: () => this.type(this.input.value) } });
    this.slider = el("input", { type: "range", min: 0, "aria-label": "Step", on: { input: () => this.go(Number(this.slider.value)) } });
    this.readout = el("output", { class: "readout" });
    this.field = el("label", { class: "field string-field" }, el("span", {}, "String"), this.input);
    this.controls = el("div", { class: "controls" }, button("Watch", () => this.watch(), { class: "primary" }),
      button("‹", () => this.go(this.at - 1), { "aria-label": "One step back" }),
      button("›", () => this.go(this.at + 1), { "aria-label": "One step on" }), this.slider, this.readout);
  }

  /** Take what the address says; whether the string is another. */
  arrive() {
    const state = shownState();
    const text = state.string ?? this.first;
    const isNew = text !== this.text;
    if (isNew) {
      this.text = text;
      if (this.input.value !== text) this.input.value = text;
      Object.assign(this, readSymbols(text, this.about.symbols));
      this.slider.max = this.codes.length;
    }
    const step = state.step === undefined ? this.codes.length : Math.round(Number(state.step));
    this.at = step >= 0 ? Math.min(step, this.codes.length) : this.codes.length;
    this.slider.value = this.at;
    return isNew;
  }

  /** Say where reading is, and have it heard where a button led there. */
  say(text) {
    this.readout.textContent = text;
    if (this.moved) announce(text);
    this.moved = false;
  }

  /** What was not read of the text, in a sentence. */
  remark() {
    if (this.stranger !== null) return `Reading stopped at ‘${this.stranger}’: the alphabet is ${this.about.shown.join(" ")}.`;
    return this.cut ? `Only the first ${this.codes.length} symbols are read.` : "";
  }

  type(text) {
    clearInterval(this.timer);
    show({ string: text, step: null });
  }

  go(step) {
    clearInterval(this.timer);
    this.moved = true;
    show({ step: Math.min(Math.max(step, 0), this.codes.length) });
  }

  watch() {
    clearInterval(this.timer);
    show({ step: 0 });
    this.timer = setInterval(() => {
      if (!this.controls.isConnected || this.at >= this.codes.length) clearInterval(this.timer);
      else show({ step: this.at + 1 });
    }, PACE);
  }
}
