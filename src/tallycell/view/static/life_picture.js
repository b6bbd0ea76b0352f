// The picture of a unit's life: what each step forgets and writes, the cell beside its tally, what is shown.
import { Pyramid } from "./pyramid.js";
import { Row, drawRowAxis, drawStepAxis, eachColumn } from "./axes.js";
import { colours } from "./theme.js";

const GAPS = { beside: 14, above: 27 }; // names of rows stand beside them, or above where there is little room
export const LITTLE_ROOM = 560; // pixels
const LETTER_FROM = 6; // pixels of a step from which its letter is written
const WORD_FROM = 13;
const MARK_FROM = 5; // pixels of a step from which it has a mark of its own
export const ROW_HEIGHTS = { forgets: 46, writes: 66, cell: 150, shows: 50, ledger: 66, series: 62 };

/** The rows of a unit's picture, from above. */
export function rowsOf(life, ledger, series) {
  return [{ kind: "forgets", name: "forgets", detail: "1 − f" }, { kind: "writes", name: "writes", detail: "i g" },
    { kind: "cell", name: "cell", detail: "c" }, ...(life.o ? [{ kind: "shows", name: "shows", detail: "h" }] : []),
    ...(ledger ? [{ kind: "ledger", name: "still in it", detail: "of writes" }] : []),
    ...series.map((one) => ({ kind: "series", name: one.name, detail: one.units, series: one }))];
}

/** Height of the picture of some rows, without what is written below. */
export function heightOf(rows, width) {
  const gap = gapOf(width);
  return rows.reduce((sum, row) => sum + ROW_HEIGHTS[row.kind] + gap, 0);
}

/** Where steps begin: right of the names of rows and their ticks, or of the ticks alone where there is little room. */
export function leftOf(width) {
  return width < LITTLE_ROOM ? 42 : 108;
}

function gapOf(width) {
  return width < LITTLE_ROOM ? GAPS.above : GAPS.beside;
}

/**
 * Draw the rows.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {import("./axes.js").StepAxis} axis
 * @param {{life: import("./cell.js").Life, rows: any[], ledger: any, labels: any, symbols: any, follows: any,
 *   at: number|null, mark: [number, number]|null, hover: number|null}} what
 */
export function drawLife(sheet, axis, what) {
  const { ink, soft, wash, accent } = colours();
  if (what.mark) sheet.bar(axis.x(what.mark[0]), 0, axis.x(what.mark[1]) - axis.x(what.mark[0]), sheet.height, wash);
  const gap = gapOf(sheet.width);
  let top = gap - 8;
  for (const row of what.rows) {
    const height = ROW_HEIGHTS[row.kind];
    const { pen } = sheet;
    if (gap === GAPS.above) {
      sheet.write(row.name, axis.left, top - 11, { size: 12, weight: 600, most: 150 });
      sheet.write(row.detail, axis.left + pen.measureText(row.name).width + 8, top - 11, { size: 11, colour: soft, most: 120 });
    } else {
      sheet.write(row.name, 0, top + height / 2 - 8, { size: 12, weight: 600, most: axis.left - 38 });
      sheet.write(row.detail, 0, top + height / 2 + 8, { size: 11, colour: soft, most: axis.left - 38 });
    }
    pen.save();
    pen.beginPath();
    pen.rect(0, top - 8, axis.right + 60, height + 16);
    pen.clip();
    DRAWN[row.kind](sheet, axis, { ...what, row, top, height });
    pen.restore();
    top += height + gap;
  }
  top -= gap - 8;
  drawBelow(sheet, axis, what, top);
  if (what.at !== null && what.at >= axis.from && what.at < axis.to) {
    sheet.line(axis.middle(what.at), 0, axis.middle(what.at), top, accent, 1.5);
  }
  if (what.hover !== null) sheet.line(axis.middle(what.hover), 0, axis.middle(what.hover), top, ink, 0.6);
}

function drawBelow(sheet, axis, { symbols, labels, at }, y) {
  const { ink, soft, accent } = colours();
  const room = symbols?.letters ? LETTER_FROM : WORD_FROM;
  if (!symbols || axis.per < room) {
    drawStepAxis(sheet, axis, y, labels);
    return;
  }
  const { pen } = sheet;
  for (let t = axis.from; t < axis.to; t += 1) {
    const text = symbols.shown[symbols.codes[t]];
    const about = { size: symbols.letters ? Math.min(14, axis.per * 1.5) : 12, fixed: symbols.letters,
      colour: t === at ? accent : symbols.breaks.has(symbols.codes[t]) ? soft : ink, weight: t === at ? 700 : 400 };
    if (symbols.letters && text.length === 1) {
      sheet.write(text, axis.middle(t), y + 10, { ...about, align: "center" });
      continue;
    }
    pen.save();
    pen.translate(axis.middle(t), y + 4);
    pen.rotate(-Math.PI / 2.6);
    sheet.write(text, 0, 0, { ...about, size: 11, fixed: false, align: "right", most: 62 });
    pen.restore();
  }
}

/** Room that is needed below the rows. */
export function roomBelow(symbols, axisPer) {
  return symbols && axisPer >= (symbols.letters ? LETTER_FROM : WORD_FROM) ? (symbols.letters ? 24 : 66) : 26;
}

function pyramid(life, name, values) {
  return life.once(`pyramid:${name}`, () => new Pyramid(values));
}

/** How many steps have a code, from one to before another. */
function counter(life, name, codes, code) {
  const before = life.once(`count:${name}`, () => {
    const sums = new Uint32Array(codes.length + 1);
    for (let t = 0; t < codes.length; t += 1) sums[t + 1] = sums[t] + (codes[t] === code ? 1 : 0);
    return sums;
  });
  return (from, to) => before[Math.min(to, codes.length)] - before[Math.max(from, 0)];
}

const resetsOf = (life) => counter(life, "resets", life.events.forget, 0);
const hiddenOf = (life) => counter(life, "hidden", life.events.expose, 2);

/** Work out all that a picture of a unit needs of its steps. */
export function prepare(life) {
  for (const [name, values] of [["forgets", life.forgets], ["write", life.write], ["c", life.c], ["tally", life.tally],
    ["shown", life.shown]]) if (values) pyramid(life, name, values);
  resetsOf(life);
  if (life.o) hiddenOf(life);
}

const DRAWN = { forgets: drawForgets, writes: drawWrites, cell: drawCell, shows: drawShows, ledger: drawStillIn,
  series: drawSeries };

function drawForgets(sheet, axis, { life, top, height }) {
  const { dark, leak, line, paper } = colours();
  const row = new Row(top, height, 0, 1);
  sheet.line(axis.left, row.y(0), axis.right, row.y(0), line);
  const values = pyramid(life, "forgets", life.forgets);
  const resets = resetsOf(life);
  const part = axis.isWide ? 0.84 : 1;
  eachColumn(axis, (x, width, from, to) => {
    const most = Math.min(values.range(from, to)[1], 1);
    const isReset = resets(from, to) > 0;
    sheet.bar(x + width * (1 - part) / 2, row.y(0), width * part, row.y(most) - row.y(0), isReset ? dark : leak);
    if (!isReset || axis.per < MARK_FROM) return;
    const [middle, y, size] = [x + width / 2, row.y(0.5), Math.min(3, width / 4)];
    sheet.line(middle - size, y - size, middle + size, y + size, paper, 1.2);
    sheet.line(middle - size, y + size, middle + size, y - size, paper, 1.2);
  });
}

/** Bars up and down from 0: wide ones each by itself, else from the smallest to the largest of a column. */
function drawSigned(sheet, axis, row, values, colourOf) {
  const part = axis.isWide ? 0.84 : 1;
  const zero = row.y(0);
  eachColumn(axis, (x, width, from, to) => {
    const [low, high] = values.range(from, to);
    const [left, across] = [x + width * (1 - part) / 2, width * part];
    if (high > 0) sheet.bar(left, zero, across, row.y(high) - zero, colourOf(from, to, 1));
    if (low < 0) sheet.bar(left, zero, across, row.y(low) - zero, colourOf(from, to, -1));
  });
}

function reach(pyramidOf, at_least = 1e-9) {
  const [low, high] = pyramidOf.range(0, pyramidOf.length);
  return Math.max(Math.abs(low), Math.abs(high), at_least);
}

function drawWrites(sheet, axis, { life, top, height }) {
  const { up, down, line } = colours();
  const values = pyramid(life, "write", life.write);
  const most = reach(values);
  const row = new Row(top, height, -1.25 * most, 1.25 * most);
  drawRowAxis(sheet, row, axis.left, axis.right, 2);
  sheet.line(axis.left, row.y(0), axis.right, row.y(0), line);
  drawSigned(sheet, axis, row, values, (from, to, sign) => (sign > 0 ? up : down));
  if (axis.per < MARK_FROM) return;
  for (let t = axis.from; t < axis.to; t += 1) {
    const code = life.events.write[t];
    if (code > 1) continue;
    const [x, y, size] = [axis.middle(t), code ? row.y(-1.22 * most) : row.y(1.22 * most), Math.min(4, axis.per / 3)];
    const { pen } = sheet;
    pen.fillStyle = code ? down : up;
    pen.beginPath();
    pen.moveTo(x - size, y);
    pen.lineTo(x + size, y);
    pen.lineTo(x, code ? y + size * 1.6 : y - size * 1.6);
    pen.fill();
  }
}

function drawCell(sheet, axis, { life, follows, top, height }) {
  const { cell, tally, quantity } = colours();
  const values = pyramid(life, "c", life.c);
  const counted = life.tally && pyramid(life, "tally", life.tally);
  const seen = [values, counted].filter(Boolean).map((one) => one.range(axis.from, axis.to));
  const [low, high] = [Math.min(0, ...seen.map((one) => one[0])), Math.max(0, ...seen.map((one) => one[1]))];
  const room = 0.08 * (high - low || 1);
  const row = new Row(top, height, low - room, high + room);
  drawRowAxis(sheet, row, axis.left, axis.right, 4);
  if (follows) drawCurve(sheet, axis, row, follows.values, { colour: quantity, width: 5 }, follows);
  // Of bands the cell's is on top: of the tally's only that is seen in which it differs.
  const curves = [() => drawCurve(sheet, axis, row, values, { colour: cell, width: 2 })];
  if (counted) curves.push(() => drawCurve(sheet, axis, row, counted, { colour: tally, width: 1.5, dash: [5, 3] }));
  for (const draw of axis.per >= 1 ? curves : curves.reverse()) draw();
}

/** A line through values, or a band from the smallest to the largest of each column. */
export function drawCurve(sheet, axis, row, values, { colour, width, dash = [] }, { slope = 1, offset = 0 } = {}) {
  const y = (value) => row.y((value - offset) / slope);
  if (axis.per < 1) {
    drawBand(sheet, axis, values, y, colour);
    return;
  }
  const { pen } = sheet;
  pen.strokeStyle = colour;
  pen.lineWidth = axis.isWide ? width : Math.min(width, 1.5);
  pen.lineJoin = "round";
  pen.setLineDash(axis.isWide ? dash : []);
  pen.beginPath();
  let isDown = false;
  for (let t = axis.from; t < axis.to; t += 1) {
    const [value] = values.range(t, t + 1);
    if (!Number.isFinite(value)) isDown = false;
    else if (isDown) pen.lineTo(axis.middle(t), y(value));
    else { pen.moveTo(axis.middle(t), y(value)); isDown = true; }
  }
  pen.stroke();
  pen.setLineDash([]);
}

/** Upright bars, each of which touches the one before: strokes of so many corners would take long. */
function drawBand(sheet, axis, values, y, colour) {
  let before = null;
  eachColumn(axis, (x, width, from, to) => {
    const [low, high] = values.range(from, to);
    if (low > high) { before = null; return; }
    const [bottom, top] = before ? [Math.min(low, before[1]), Math.max(high, before[0])] : [low, high];
    const [a, b] = [y(bottom), y(top)];
    sheet.bar(x, Math.min(a, b) - 0.5, width, Math.abs(a - b) + 1, colour);
    before = [low, high];
  });
}

function drawShows(sheet, axis, { life, top, height }) {
  const { dark, leak, line } = colours();
  const values = pyramid(life, "shown", life.shown);
  const hidden = hiddenOf(life);
  const most = Math.max(reach(values), 0.1);
  const row = new Row(top, height, -most, most);
  drawRowAxis(sheet, row, axis.left, axis.right, 2);
  sheet.line(axis.left, row.y(0), axis.right, row.y(0), line);
  drawSigned(sheet, axis, row, values, (from, to) => (hidden(from, to) === to - from ? leak : dark));
}

function drawStillIn(sheet, axis, { ledger, top, height }) {
  const { up, down, line } = colours();
  const most = reach(ledger.pyramid);
  const row = new Row(top, height, -1.05 * most, 1.05 * most);
  drawRowAxis(sheet, row, axis.left, axis.right, 2);
  sheet.line(axis.left, row.y(0), axis.right, row.y(0), line);
  const moved = { range: (from, to) => ledger.pyramid.range(from - ledger.first, to - ledger.first) };
  drawSigned(sheet, axis, row, moved, (from, to, sign) => (sign > 0 ? up : down));
}

function drawSeries(sheet, axis, { row: about, top, height }) {
  const { values } = about.series;
  let [low, high] = values.range(axis.from, axis.to);
  if (low > high) [low, high] = [0, 1];
  const row = new Row(top, height, low, high);
  drawRowAxis(sheet, row, axis.left, axis.right, 2);
  drawCurve(sheet, axis, row, values, { colour: colours().ink, width: 1.3 });
}
