// One cell and six buttons: each press is one step, and sets the pre-activations of the gates to + or − the strength.
import { GATE_FUNCTIONS, CELL_FUNCTIONS } from "./squashing.js";
import { digits, percent } from "./numbers.js";

/** The buttons, by the letter that stands for each in the address. */
export const PRESSES = {
  r: { text: "reset", title: "The forget gate closes: what is in the cell goes" },
  k: { text: "keep", title: "The forget gate stays open, nothing is written" },
  u: { text: "up", title: "The input gate opens, the candidate says +" },
  d: { text: "down", title: "The input gate opens, the candidate says −" },
  s: { text: "show", title: "The output gate opens, and stays open" },
  h: { text: "hide", title: "The output gate closes, and stays closed" },
};

/** What the buttons set: signs of the pre-activations. The candidate goes on talking while its gate is closed. */
export function signsOf(pressed) {
  let [g, o] = [1, 1];
  return [...pressed].map((press) => {
    if (press === "u" || press === "d") g = press === "u" ? 1 : -1;
    if (press === "s" || press === "h") o = press === "s" ? 1 : -1;
    return { f: press === "r" ? -1 : 1, i: press === "u" || press === "d" ? 1 : -1, g, o };
  });
}

/**
 * Run the cell.
 * @param {string} pressed letters of PRESSES, one a step
 * @param {{gates: string, squash: string, strength: number}} how
 */
export function runCell(pressed, how) {
  const gate = GATE_FUNCTIONS[how.gates].of;
  const squash = CELL_FUNCTIONS[how.squash].of;
  const run = { heading: "the step", labels: [...pressed].map((one) => PRESSES[one].text), f: [], i: [], g: [], o: [], c: [], shown: [], tally: [], pre: [] };
  let [c, tally] = [0, 0];
  signsOf(pressed).forEach((signs, t) => {
    const pre = Object.fromEntries(Object.entries(signs).map(([name, sign]) => [name, sign * how.strength]));
    const [f, i, g, o] = [gate(pre.f), gate(pre.i), squash(pre.g), gate(pre.o)];
    const before = c;
    c = f * c + i * g;
    const press = pressed[t];
    tally = press === "r" ? 0 : tally + Number(press === "u") - Number(press === "d");
    for (const [name, value] of Object.entries({ f, i, g, o, c, shown: o * squash(c), tally })) run[name].push(value);
    run.pre.push({ ...pre, before });
  });
  return run;
}

/** What each button is worth in this cell. */
export function worths({ gates, squash, strength }) {
  const gate = GATE_FUNCTIONS[gates].of;
  const cell = CELL_FUNCTIONS[squash].of;
  return { keep: gate(strength), reset: gate(-strength), up: gate(strength) * cell(strength),
    down: gate(strength) * cell(-strength), seep: gate(-strength) * cell(strength), hide: gate(-strength) };
}

/** Judge a cell in a sentence: whether it counts, and why not. */
export function judgeCell(how) {
  const { keep, reset, up, down } = worths(how);
  if (how.gates === "sine") return "It is no gate: a sine never settles, so a stronger signal does not open it further.";
  if (keep > 1.03) return `It runs away: keep makes ${digits(keep)} of every 1. A relu has no upper limit, so nothing holds the gate at 1.`;
  if (how.squash === "sine") return `It cannot be told how far to go: up adds ${digits(up)}, because a sine never settles.`;
  if (down >= 0) return "It cannot count down: a relu gives nothing below 0.";
  if (keep < 0.97) return `It leaks: keep keeps only ${percent(keep)} at each step. Make the signal stronger, and the gates close.`;
  if (Math.abs(reset) > 0.03) return `It does not let go: reset leaves ${percent(reset)} in the cell.`;
  if (up > 1.5) return `It counts in steps of ${digits(up)}, as large as the signal: nothing makes the steps equal.`;
  if (keep < 0.9995) return `It counts, nearly: up adds ${digits(up)}, and keep loses ${digits(100 * (1 - keep))} % at each step.`;
  return `It counts: up adds ${digits(up)}, down takes ${digits(-down)}, keep keeps what is there.`;
}

/** The last step as the two equations of an LSTM. */
export function sayStep(run, t, squash) {
  if (t < 0) return "Press a button: each press is one step.";
  const at = (values) => digits(values[t]);
  return `c = f × c + i × g\n  = ${at(run.f)} × ${digits(run.pre[t].before)} + ${at(run.i)} × ${at(run.g)} = ${at(run.c)}\n`
    + `h = o × ${CELL_FUNCTIONS[squash].text}(c)\n  = ${at(run.o)} × ${digits(CELL_FUNCTIONS[squash].of(run.c[t]))} = ${at(run.shown)}`;
}
