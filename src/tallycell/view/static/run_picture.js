// The picture of a cell over steps that are few: gates as bars, the cell beside its ideal count, what is shown.
import { Row, drawRowAxis } from "./axes.js";
import { digits } from "./numbers.js";
import { colours } from "./theme.js";

const GATE_ROWS = [["f", "forget gate", "keeps"], ["i", "input gate", "writes"], ["g", "candidate", "up or down"], ["o", "output gate", "shows"]];
const GATE_HEIGHT = 30;
const GAP = 13;
const NARROW = 100; // pixels left of the steps: too few for words
const CELL_HEIGHT = 118;
const SHOWN_HEIGHT = 44;

/** A number that is drawn at a step: in three digits, and 0 for what is next to nothing. */
export function brief(value) {
  return Math.abs(value) < 0.005 ? "0" : digits(value);
}

/** How high the picture is. */
export const RUN_HEIGHT = 30 + 4 * (GATE_HEIGHT + GAP) + 18 + CELL_HEIGHT + 26 + SHOWN_HEIGHT + 12;

/** The steps that have room: the last ones up to a step. */
export function seenSteps(sheet, count, at, widest = 84) {
  const left = sheet.width < 560 ? 56 : 150;
  const room = Math.max(4, Math.floor((sheet.width - left - 12) / 36));
  const to = Math.min(count, Math.max(at + 1, room));
  const from = Math.max(0, to - room);
  const per = Math.min(widest, (sheet.width - left - 12) / Math.max(to - from, 6));
  return { left, right: left + per * Math.max(to - from, 6), from, to, per, x: (t) => left + (t - from) * per };
}

/**
 * Write what is read, or done, above the steps, and what that is; and mark a step.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {ReturnType<typeof seenSteps>} seen
 * @param {{heading: string, labels: string[]}} run
 * @param {number} at the step that is marked; -1 for none
 * @param {{size: number, fixed?: boolean}} how it is written
 */
export function drawLabels(sheet, seen, { heading, labels }, at, how) {
  const { ink, soft, wash } = colours();
  if (at >= seen.from) sheet.bar(seen.x(at), 0, seen.per, sheet.height, wash);
  for (let t = seen.from; t < seen.to; t += 1) {
    sheet.write(labels[t], seen.x(t) + seen.per / 2, 14, { ...how, align: "center", most: seen.per - 2,
      weight: t === at ? 700 : 400, colour: t <= at ? ink : soft });
  }
  if (seen.left > NARROW) sheet.write(heading, seen.left - 42, 14, { size: 12, align: "right", colour: soft });
}

/** Name a row at its left: with what it does below, or briefly where there is little room. */
export function nameRow(sheet, seen, row, { name, does, short = name }) {
  const { ink, soft } = colours();
  const middle = row.top + row.height / 2;
  if (seen.left < NARROW) {
    sheet.write(short, 0, middle, { size: 12, weight: 650, colour: ink, most: seen.left - 18 });
    return;
  }
  const how = { align: "right", most: seen.left - 44 };
  sheet.write(name, seen.left - 42, middle - (does ? 8 : 0), { ...how, size: 12.5, weight: 600, colour: ink });
  if (does) sheet.write(does, seen.left - 42, middle + 8, { ...how, size: 11, colour: soft });
}

/** Draw what a cell holds and what is counted beside it, level after level, up to before a step. */
export function drawLevels(sheet, seen, row, { cell, counted }, end) {
  const { cell: blue, tally } = colours();
  const isThere = (value) => value !== null && Number.isFinite(row.y(value));
  for (const [values, colour, width, dash] of [[cell, blue, 4, []], [counted, tally, 2, [5, 4]]]) {
    for (let t = seen.from; values && t < Math.min(end, seen.to); t += 1) {
      if (!isThere(values[t])) continue;
      const y = row.y(values[t]);
      sheet.line(seen.x(t), y, seen.x(t) + seen.per, y, colour, width, dash);
      if (t > seen.from && isThere(values[t - 1])) sheet.line(seen.x(t), row.y(values[t - 1]), seen.x(t), y, colour, width / 2, dash);
    }
  }
  for (let t = seen.from; t < Math.min(end, seen.to); t += 1) {
    const value = (cell ?? counted)[t];
    if (isThere(value)) sheet.write(brief(value), seen.x(t) + seen.per / 2, row.y(value) - 11, { size: 11, align: "center", most: seen.per, weight: t === end - 1 ? 700 : 400 });
  }
}

/**
 * Draw a run up to a step.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {{heading: string, labels: string[], f: number[], i: number[], g: number[], o: number[], c: number[], shown: number[], tally: number[]|null}} run
 * @param {number} at the last step that is drawn; -1 for none
 */
export function drawRun(sheet, run, at) {
  const seen = seenSteps(sheet, run.labels.length, at);
  const { accent, dark, up, down } = colours();
  drawLabels(sheet, seen, run, at, { size: 12 });
  const bySign = (value) => (value < 0 ? down : up);
  let top = 30;
  for (const [letter, name, does] of GATE_ROWS) {
    const row = rowOf(top, GATE_HEIGHT, run[letter], seen, at, letter === "g" ? [-1, 1] : [0, 1]);
    nameRow(sheet, seen, row, { name, does, short: letter });
    drawBars(sheet, seen, row, run[letter], at, letter === "g" ? bySign : () => dark);
    writeBetween(sheet, seen, row, run[letter], at);
    top += GATE_HEIGHT + GAP;
  }
  drawHeld(sheet, seen, top + 18, run, at);
  const shown = rowOf(top + 18 + CELL_HEIGHT + 26, SHOWN_HEIGHT, run.shown, seen, at, [-1, 1]);
  nameRow(sheet, seen, shown, { name: "shown", does: "what others see", short: "h" });
  drawBars(sheet, seen, shown, run.shown, at, bySign);
  if (at >= seen.from) sheet.line(seen.x(at), sheet.height - 1, seen.x(at) + seen.per, sheet.height - 1, accent, 2);
}

/** A row with room for the values that are seen, and at least from one number to another. */
function rowOf(top, height, values, seen, at, [low, high]) {
  const there = values.slice(seen.from, at + 1).filter(Number.isFinite);
  return new Row(top, height, Math.min(low, ...there), Math.max(high, ...there));
}

function drawBars(sheet, seen, row, values, at, colourOf) {
  const { line, soft } = colours();
  sheet.line(seen.left, row.y(0) + 0.5, seen.right, row.y(0) + 0.5, line);
  for (const tick of [row.high, row.low]) sheet.write(digits(tick, 2), seen.left - 8, row.y(tick), { size: 10, align: "right", colour: soft });
  for (let t = seen.from; t <= Math.min(at, seen.to - 1); t += 1) {
    const height = Math.max(Math.abs(row.y(values[t]) - row.y(0)), 1.5);
    if (Number.isFinite(height)) sheet.bar(seen.x(t) + 4, Math.min(row.y(values[t]), row.y(0)), Math.max(seen.per - 8, 3), height, colourOf(values[t]));
  }
}

/** Write the values of gates that are neither open nor closed. */
function writeBetween(sheet, seen, row, values, at) {
  for (let t = seen.from; seen.per > 30 && t <= Math.min(at, seen.to - 1); t += 1) {
    const size = Math.abs(values[t]);
    if (size > 0.02 && size < 0.98) sheet.write(digits(values[t], 2), seen.x(t) + seen.per / 2, row.top - 5, { size: 9.5, align: "center", colour: colours().soft });
  }
}

function drawHeld(sheet, seen, top, run, at) {
  const both = [...run.c.slice(0, at + 1), ...(run.tally ?? []).slice(0, at + 1)].filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...both), Math.max(1, ...both)];
  const row = new Row(top, CELL_HEIGHT, low - 0.06 * (high - low), high + 0.12 * (high - low));
  nameRow(sheet, seen, row, { name: "cell", does: "what it holds", short: "c" });
  drawRowAxis(sheet, row, seen.left, seen.right, 4);
  drawLevels(sheet, seen, row, { cell: run.c, counted: run.tally }, at + 1);
}

/** The rows of a run as a table. */
export function tableOfRun(run, at) {
  const rows = [];
  for (let t = 0; t <= at; t += 1) {
    rows.push([t + 1, run.labels[t], ...["f", "i", "g", "o", "c", "shown"].map((name) => digits(run[name][t])), ...(run.tally ? [digits(run.tally[t])] : [])]);
  }
  return { heads: ["step", "does", "f", "i", "g", "o", "cell", "shown", ...(run.tally ? ["exact count"] : [])], rows };
}
