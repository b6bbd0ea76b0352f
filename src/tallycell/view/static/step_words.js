// What a step is called, and what was read around it.
import { el } from "./dom.js";
import { dateText, digits, whole } from "./numbers.js";

/** A symbol as it is said: blanks by their names, others in quotes. */
export function spoken(symbol) {
  return symbol === " " ? "space" : symbol === "⏎" ? "newline" : symbol === "⇥" ? "tab" : `'${symbol}'`;
}

/**
 * The name of a step: its date, or its number in its sequence with its time.
 * @param {import("./bundle.js").Bundle} bundle
 * @param {Float64Array|null} times
 * @param {number} t
 */
export function nameOfStep(bundle, times, t) {
  if (times && bundle.header.time === "date") return dateText(times[t]);
  const name = `step ${whole(t - bundle.start[bundle.sequenceOf(t)])}`;
  return times ? `${name} (${digits(times[t], 5)} ${bundle.header.time})` : name;
}

/**
 * What was read at some steps, marked, between what was read around them.
 * @param {{codes: ArrayLike<number>, shown: string[], letters: boolean}} symbols
 * @param {[number, number]} marked the first of these steps, and the one behind the last
 * @param {[number, number]} around the same of all that is shown
 * @param {{most?: number, width?: number}} [how] most: of so many marked steps the middle is left out; width: letters
 *   before the mark, so that marks stand below each other
 */
export function contextOf(symbols, [from, to], [low, high], { most = Infinity, width = 0 } = {}) {
  const between = symbols.letters ? "" : " ";
  const text = (a, b) => Array.from({ length: Math.max(0, b - a) }, (_, k) => symbols.shown[symbols.codes[a + k]]).join(between);
  const marked = to - from > most ? `${text(from, from + most / 2)} … ${text(to - most / 2, to)}` : text(from, to);
  return el("span", { class: "context" }, (text(low, from) + between).padStart(width), el("mark", { text: marked }), between + text(to, high));
}
