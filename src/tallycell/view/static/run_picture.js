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
 * Draw a run up to a step.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {{heading: string, labels: string[], f: number[], i: number[], g: number[], o: number[], c: number[], shown: number[], tally: number[]|null}} run
 * @param {number} at the last step that is drawn; -1 for none
 */
export function drawRun(sheet, run, at) {
  const seen = seenSteps(sheet, run.labels.length, at);
  const { ink, soft, wash, accent } = colours();
  if (at >= seen.from) sheet.bar(seen.x(at), 0, seen.per, sheet.height, wash);
  for (let t = seen.from; t < seen.to; t += 1) {
    sheet.write(run.labels[t], seen.x(t) + seen.per / 2, 14, { size: 12, align: "center", most: seen.per - 2,
      weight: t === at ? 700 : 400, colour: t <= at ? ink : soft });
  }
  if (seen.left > NARROW) sheet.write(run.heading, seen.left - 42, 14, { size: 12, align: "right", colour: soft });
  let top = 30;
  for (const [name, full, does] of GATE_ROWS) {
    drawGate(sheet, seen, top, run[name], at, { name, full, does });
    top += GATE_HEIGHT + GAP;
  }
  drawHeld(sheet, seen, top + 18, run, at);
  drawShown(sheet, seen, top + 18 + CELL_HEIGHT + 26, run, at);
  if (at >= seen.from) sheet.line(seen.x(at), sheet.height - 1, seen.x(at) + seen.per, sheet.height - 1, accent, 2);
}

function rangeOf(values, seen, at, least) {
  const there = values.slice(seen.from, at + 1).filter(Number.isFinite);
  return [Math.min(least[0], ...there), Math.max(least[1], ...there)];
}

function rowName(sheet, seen, row, letter, full, does) {
  const { ink, soft } = colours();
  const middle = row.top + row.height / 2;
  if (seen.left < NARROW) {
    sheet.write(letter, 2, middle, { size: 13, weight: 650, colour: ink });
    return;
  }
  sheet.write(full, seen.left - 42, middle - 7, { size: 12.5, weight: 600, align: "right", colour: ink });
  sheet.write(does, seen.left - 42, middle + 8, { size: 11, align: "right", colour: soft });
}

function drawGate(sheet, seen, top, values, at, { name, full, does }) {
  const { dark, line, up, down, soft } = colours();
  const [low, high] = rangeOf(values, seen, at, name === "g" ? [-1, 1] : [0, 1]);
  const row = new Row(top, GATE_HEIGHT, low, high);
  rowName(sheet, seen, row, name, full, does);
  sheet.line(seen.left, row.y(0) + 0.5, seen.right, row.y(0) + 0.5, line);
  for (const tick of [high, low]) sheet.write(digits(tick, 2), seen.left - 8, row.y(tick), { size: 10, align: "right", colour: soft });
  for (let t = seen.from; t <= Math.min(at, seen.to - 1); t += 1) {
    const colour = name !== "g" ? dark : values[t] < 0 ? down : up;
    const wide = Math.max(seen.per - 8, 3);
    const y = Math.min(row.y(values[t]), row.y(0));
    sheet.bar(seen.x(t) + 4, y, wide, Math.max(Math.abs(row.y(values[t]) - row.y(0)), 1.5), colour);
    const size = Math.abs(values[t]);
    if (size > 0.02 && size < 0.98 && seen.per > 30) {
      sheet.write(digits(values[t], 2), seen.x(t) + seen.per / 2, row.top - 5, { size: 9.5, align: "center", colour: soft });
    }
  }
}

function drawHeld(sheet, seen, top, run, at) {
  const { cell, tally, ink } = colours();
  const both = run.tally ? [...run.c.slice(0, at + 1), ...run.tally.slice(0, at + 1)] : run.c.slice(0, at + 1);
  const [low, high] = rangeOf(both, { from: 0 }, both.length - 1, [0, 1]);
  const row = new Row(top, CELL_HEIGHT, low - 0.06 * (high - low), high + 0.12 * (high - low));
  rowName(sheet, { left: seen.left }, row, "c", "cell", "what it holds");
  drawRowAxis(sheet, row, seen.left, seen.right, 4);
  const steps = (values, colour, width, dash) => {
    for (let t = seen.from; t <= Math.min(at, seen.to - 1); t += 1) {
      const y = row.y(values[t]);
      if (!Number.isFinite(y)) continue;
      sheet.line(seen.x(t), y, seen.x(t) + seen.per, y, colour, width, dash);
      if (t > seen.from && Number.isFinite(row.y(values[t - 1]))) sheet.line(seen.x(t), row.y(values[t - 1]), seen.x(t), y, colour, width / 2, dash);
    }
  };
  steps(run.c, cell, 4, []);
  if (run.tally) steps(run.tally, tally, 2, [5, 4]);
  for (let t = seen.from; t <= Math.min(at, seen.to - 1); t += 1) {
    const y = row.y(run.c[t]);
    if (Number.isFinite(y)) sheet.write(brief(run.c[t]), seen.x(t) + seen.per / 2, Math.max(y - 11, row.top + 4), { size: 11, align: "center", most: seen.per, weight: t === at ? 700 : 400, colour: ink });
  }
}

function drawShown(sheet, seen, top, run, at) {
  const { up, down, line, soft } = colours();
  const [low, high] = rangeOf(run.shown, seen, at, [-1, 1]);
  const row = new Row(top, SHOWN_HEIGHT, low, high);
  rowName(sheet, seen, row, "h", "shown", "what others see");
  sheet.line(seen.left, row.y(0) + 0.5, seen.right, row.y(0) + 0.5, line);
  for (const tick of [high, low]) sheet.write(digits(tick, 2), seen.left - 8, row.y(tick), { size: 10, align: "right", colour: soft });
  for (let t = seen.from; t <= Math.min(at, seen.to - 1); t += 1) {
    const value = run.shown[t];
    if (!Number.isFinite(value)) continue;
    sheet.bar(seen.x(t) + 4, Math.min(row.y(value), row.y(0)), Math.max(seen.per - 8, 3), Math.max(Math.abs(row.y(value) - row.y(0)), 1.5), value < 0 ? down : up);
  }
}

/** The rows of a run as a table. */
export function tableOfRun(run, at) {
  const rows = [];
  for (let t = 0; t <= at; t += 1) {
    rows.push([t + 1, run.labels[t], ...["f", "i", "g", "o", "c", "shown"].map((name) => digits(run[name][t])), ...(run.tally ? [digits(run.tally[t])] : [])]);
  }
  return { heads: ["step", "does", "f", "i", "g", "o", "cell", "shown", ...(run.tally ? ["exact count"] : [])], rows };
}
