// Axes of pictures over steps: where a step stands, what is written below, a scale at the left of each row.
import { niceTicks, dateTicks, digits, whole } from "./numbers.js";
import { colours } from "./theme.js";

/** Where steps stand from left to right. */
export class StepAxis {
  /** @param {number} left @param {number} right @param {{from: number, to: number}} seen */
  constructor(left, right, seen) {
    this.left = left;
    this.right = right;
    this.from = seen.from;
    this.to = seen.to;
    this.per = (right - left) / Math.max(seen.to - seen.from, 1); // pixels a step
  }

  /** The left edge of a step. */
  x(step) {
    return this.left + (step - this.from) * this.per;
  }

  /** The middle of a step. */
  middle(step) {
    return this.x(step + 0.5);
  }

  stepAt(x) {
    return Math.min(Math.max(Math.floor(this.from + (x - this.left) / this.per), this.from), this.to - 1);
  }

  /** Whether steps are wide enough to be drawn one by one. */
  get isWide() {
    return this.per >= 2.5;
  }
}

/** A row of a picture: where its values stand from bottom to top. */
export class Row {
  constructor(top, height, low, high) {
    this.top = top;
    this.height = height;
    this.low = low;
    this.high = high > low ? high : low + 1;
  }

  y(value) {
    return this.top + this.height * (1 - (value - this.low) / (this.high - this.low));
  }
}

/** Write the ticks of a row at its left, with faint lines through it. */
export function drawRowAxis(sheet, row, left, right, about = 3) {
  const { soft, line } = colours();
  for (const tick of niceTicks(row.low, row.high, about)) {
    const y = Math.round(row.y(tick)) + 0.5;
    if (y < row.top - 1 || y > row.top + row.height + 1) continue;
    sheet.line(left, y, right, y, line);
    sheet.write(digits(tick), left - 8, y, { size: 11, colour: soft, align: "right" });
  }
}

/**
 * Write steps, dates or seconds below a picture.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {StepAxis} axis
 * @param {number} y
 * @param {{first: number, times: Float64Array|null, isDate: boolean}} labels first: the step that is number 0
 */
export function drawStepAxis(sheet, axis, y, { first, times, isDate }) {
  const { soft, line } = colours();
  const about = Math.max(2, Math.floor((axis.right - axis.left) / 90));
  const mark = (x, text) => {
    sheet.line(x, y, x, y + 5, line);
    const half = text.length * 3.2;
    sheet.write(text, Math.min(Math.max(x, axis.left + half), axis.right - half), y + 14,
      { size: 11, colour: soft, align: "center" });
  };
  if (times && isDate) {
    for (const { at, text } of dateTicks(times[axis.from], times[axis.to - 1], about)) {
      mark(axis.middle(stepOfTime(times, at, axis.from, axis.to)), text);
    }
    return;
  }
  for (const tick of niceTicks(axis.from - first, axis.to - 1 - first, about)) {
    if (Number.isInteger(tick)) mark(axis.middle(tick + first), times ? digits(times[tick + first]) : whole(tick));
  }
}

/** The first step at a time or later. */
export function stepOfTime(times, at, from, to) {
  let [low, high] = [from, to - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Call a function (x, width, from, to) for each column of pixels, or for each step where steps are wider. */
export function eachColumn(axis, draw) {
  const steps = Math.max(1, 1 / axis.per);
  const width = Math.max(1, axis.per);
  let from = axis.from;
  for (let column = 1; from < axis.to; column += 1) {
    const to = Math.min(Math.max(Math.round(axis.from + column * steps), from + 1), axis.to);
    draw(axis.x(from), width, from, to);
    from = to;
  }
}
