// A machine as a state diagram with the step that was taken, and its counters beside the cells of the LSTM.
import { Row, drawRowAxis } from "./axes.js";
import { colours } from "./theme.js";
import { seenSteps, drawLabels, nameRow, drawLevels } from "./run_picture.js";

const CELL_ROW = 68;

/** The diagram that fits into a width, and by how much it is shrunk. */
export function diagramFor(about, width) {
  const diagram = about.wide.size[0] <= width ? about.wide : about.narrow;
  return { diagram, scale: Math.min(1, (width - 4) / (diagram.size[0] + 30)) };
}

/**
 * Draw the diagram.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {Object<string, any>} about
 * @param {{state: number, from?: number, failed: boolean}} now
 */
export function drawDiagram(sheet, about, now) {
  const { diagram, scale } = diagramFor(about, sheet.width);
  const { pen } = sheet;
  pen.save();
  pen.translate(Math.max(28 * scale, (sheet.width - diagram.size[0] * scale) / 2), 2);
  pen.scale(scale, scale);
  for (const edge of diagram.edges) drawEdge(sheet, edge, !now.failed && edge.from === now.from && edge.to === now.state);
  diagram.states.forEach((state, k) => drawState(sheet, state, k === now.state, now.failed));
  const first = diagram.states[0];
  const [x, y] = [first.at[0] - first.size[0] / 2, first.at[1]];
  const { ink } = colours();
  sheet.line(x - 22, y, x - 3, y, ink, 1.5);
  arrowHead(pen, [x - 12, y], [x - 1, y], ink);
  pen.beginPath();
  pen.arc(x - 24, y, 4, 0, 2 * Math.PI);
  pen.fill();
  pen.restore();
}

function drawState(sheet, { at, size, lines, accepts }, isNow, failed) {
  const { pen } = sheet;
  const { accent, wash, ink, down, soft, paper } = colours();
  const edge = isNow ? (failed ? down : accent) : soft;
  const box = (inset, filled) => {
    pen.beginPath();
    pen.roundRect(at[0] - size[0] / 2 + inset, at[1] - size[1] / 2 + inset, size[0] - 2 * inset, size[1] - 2 * inset, 11 - inset / 2);
    if (filled) {
      pen.fillStyle = filled;
      pen.fill();
    }
    pen.strokeStyle = edge;
    pen.lineWidth = isNow ? 3 : 1.25;
    pen.stroke();
  };
  box(0, isNow ? wash : paper);
  if (accepts) box(4.5, null);
  lines.forEach((line, k) => sheet.write(line, at[0], at[1] + (k - (lines.length - 1) / 2) * 17, { size: 12, align: "center", fixed: true,
    weight: k ? 400 : 700, colour: k ? soft : ink }));
}

function drawEdge(sheet, { curve, label, lines, number }, isTaken) {
  const { pen } = sheet;
  const { accent, soft, ink, paper } = colours();
  const colour = isTaken ? accent : soft;
  pen.beginPath();
  pen.moveTo(...curve[0]);
  for (let k = 1; k + 2 < curve.length; k += 3) pen.bezierCurveTo(...curve[k], ...curve[k + 1], ...curve[k + 2]);
  pen.strokeStyle = colour;
  pen.lineWidth = isTaken ? 3 : 1.25;
  pen.stroke();
  arrowHead(pen, curve[curve.length - 2], curve[curve.length - 1], colour);
  const texts = number === null ? lines : [String(number)];
  texts.forEach((line, k) => {
    const y = label[1] + (k - (texts.length - 1) / 2) * 17;
    pen.font = `12px ${colours().fixed}`;
    const half = pen.measureText(line).width / 2 + 3;
    sheet.bar(label[0] - half, y - 8, 2 * half, 16, paper);
    sheet.write(line, label[0], y, { size: 12, align: "center", fixed: true, colour: isTaken ? accent : ink, weight: isTaken || number !== null ? 700 : 400 });
  });
}

function arrowHead(pen, from, to, colour) {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  pen.beginPath();
  pen.moveTo(...to);
  for (const side of [-0.42, 0.42]) pen.lineTo(to[0] - 10 * Math.cos(angle + side), to[1] - 10 * Math.sin(angle + side));
  pen.closePath();
  pen.fillStyle = colour;
  pen.fill();
}

/** How high the picture of so many rows is. */
export function rowsHeight(count) {
  return 34 + count * CELL_ROW;
}

/**
 * Draw cells step by step, each with the counter that it holds.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {{heading: string, labels: string[], rows: {name: string, does: string, cell: number[]|null, counted: (number|null)[]|null}[], at: number}} run
 *   cell and what is counted after each symbol
 */
export function drawRows(sheet, { heading, labels, rows, at }) {
  const seen = seenSteps(sheet, labels.length, at - 1);
  drawLabels(sheet, seen, { heading, labels }, at - 1, { size: 14, fixed: true });
  rows.forEach((of, k) => {
    const values = [...(of.cell ?? []).slice(0, at), ...(of.counted ?? []).slice(0, at)].filter((one) => one !== null);
    const [low, high] = [Math.min(0, ...values), Math.max(1, ...values)];
    const row = new Row(42 + k * CELL_ROW, CELL_ROW - 20, low - 0.04 * (high - low), high + 0.2 * (high - low));
    nameRow(sheet, seen, row, of);
    drawRowAxis(sheet, row, seen.left, seen.right, 1);
    drawLevels(sheet, seen, row, of, at);
  });
}
