// The ledger on click: which writes are in the cell now, and what the cell adds to what the model says.
import { el, fill, button, plainTable, dropDown } from "./dom.js";
import { digits, signed, percent, whole, counted } from "./numbers.js";
import { ledgerOf, accountOf, largest } from "./ledger.js";
import { signedBar } from "./chips.js";
import { Life } from "./cell.js";
import { Pyramid } from "./pyramid.js";

const TOP_WRITES = 8;
const MOST_OF_IT = 0.9;

/** The ledger with what a picture of it needs. */
export function ledgerFor(life, at) {
  const ledger = ledgerOf(life, at);
  ledger.pyramid = new Pyramid(ledger.parts);
  return ledger;
}

/** Say in a sentence what a cell is made of. */
export function sayLedger(ledger, nameOf) {
  const size = ledger.parts.reduce((sum, part) => sum + Math.abs(part), 0)
    + Math.abs(ledger.initial) + Math.abs(ledger.clipped);
  if (size === 0) return `At ${nameOf(ledger.at)}, the cell holds nothing.`;
  const order = largest(ledger.parts, 200);
  let [sum, count] = [0, 0];
  while (count < order.length && sum < MOST_OF_IT * size) sum += Math.abs(ledger.parts[order[count++]]);
  const made = sum >= MOST_OF_IT * size
    ? `${counted(count, "write")} ${count === 1 ? "makes" : "make"} ${percent(sum / size)} of what is in it`
    : Math.abs(ledger.initial) > size / 2 ? "most of it is from before the first step"
      : "very many writes make it";
  return `At ${nameOf(ledger.at)}, the cell holds ${digits(ledger.cell)}: ${made}.`;
}

/** The panel below a unit's picture. */
export class LedgerView {
  /**
   * @param {import("./bundle.js").Bundle} bundle
   * @param {{nameOf: (step: number) => string, around: (step: number) => string, pick: (step: number) => void,
   *   pickUnit: (label: string) => void, output: (name: string) => void}} on
   */
  constructor(bundle, on) {
    this.bundle = bundle;
    this.on = on;
    this.box = el("section", { class: "ledger", "aria-label": "Ledger" });
  }

  /** Show the ledger of a step, or how to get one. */
  async show(life, ledger, head, output) {
    if (!ledger) {
      fill(this.box, el("p", { class: "hint" }, "Click a step to see which writes are in the cell there; in the picture . and , go to the next and the one before."));
      return;
    }
    const parts = [el("h3", { text: sayLedger(ledger, this.on.nameOf) }), this.writes(ledger)];
    if (head && life.o) parts.push(this.account(life, ledger.at, head, output));
    fill(this.box, ...parts);
  }

  writes(ledger) {
    const order = largest(ledger.parts, TOP_WRITES);
    const most = order.length ? Math.abs(ledger.parts[order[0]]) : 1;
    const size = ledger.parts.reduce((sum, part) => sum + Math.abs(part), 0);
    const shown = order.reduce((sum, k) => sum + ledger.parts[k], 0);
    const all = ledger.parts.reduce((sum, part) => sum + part, 0);
    const nonzero = ledger.parts.reduce((sum, part) => sum + Number(part !== 0), 0);
    const rows = order.map((k) => [
      button(this.on.nameOf(ledger.first + k), () => this.on.pick(ledger.first + k), { class: "link" }),
      this.on.around(ledger.first + k), signedBar(ledger.parts[k], most), percent(Math.abs(ledger.parts[k]) / size)]);
    const rest = [];
    if (nonzero > order.length) rest.push([`the other ${whole(nonzero - order.length)}`, "", signedBar(all - shown, most), ""]);
    if (ledger.initial) rest.push(["before the first step", "", signedBar(ledger.initial, most), ""]);
    if (ledger.clipped) rest.push(["taken by clipping", "", signedBar(ledger.clipped, most), ""]);
    rest.push([el("strong", { text: "the cell" }), "", el("strong", { text: signed(ledger.cell) }), ""]);
    return plainTable("Writes that are in the cell now, the largest first; with the rest they sum to it",
      ["written at", "there", "of it in the cell now", "share"], [...rows, ...rest], { class: "writes" });
  }

  account(life, at, head, output) {
    const place = head.bundle.header.head;
    const said = head.saidAt(at);
    const chosen = place.outputs.indexOf(output) >= 0 ? place.outputs.indexOf(output) : said[0].output;
    const weight = head.weight[chosen * head.units + life.number];
    const known = said.find((one) => one.output === chosen);
    const list = said.map((one) => `${place.outputs[one.output] ?? "another"} (${digits(one.logit)})`).join(", then ");
    const box = el("div", { class: "account" }, el("h3", { text: `There the model says ${list}.` }));
    const options = place.outputs.map((text, k) => ({ value: String(k), text }));
    box.append(dropDown("Account of", options, String(chosen), (value) => this.on.output(place.outputs[Number(value)])));
    if (weight === 0 && !head.isLast(life.number)) {
      box.append(el("p", { text: "This cell is not of the last layer, so the outputs do not read it directly." }));
      return box;
    }
    const own = accountOf(life, at, weight, place.shown);
    box.append(el("p", { text: this.sayAccount(own, place.outputs[chosen], known, head.bias[chosen]) }));
    const parts = el("div", {});
    box.append(parts, button("Which other cells?", () => this.otherCells(parts, life, at, head, chosen, known),
      { class: "quiet" }));
    return box;
  }

  sayAccount(own, name, known, bias) {
    const strongest = largest(own.parts, 1)[0];
    const from = strongest === undefined ? ""
      : `, most of it (${signed(own.parts[strongest])}) written at ${this.on.nameOf(own.first + strongest)}`;
    const rest = known ? ` ${name} is ${digits(known.logit)} in all: ${signed(own.total)} from this cell, `
      + `${signed(known.logit - own.total - bias)} from all others, ${signed(bias)} from the bias.` : "";
    const verb = own.total > 0 ? "raises" : own.total < 0 ? "lowers" : "does not move";
    return `This cell ${verb} ${name}${own.total ? ` by ${digits(Math.abs(own.total))}` : ""}${from}.${rest}`;
  }

  /** Read all units whose steps are at hand, and list those that give most to the output. */
  async otherCells(box, life, at, head, chosen, known) {
    const labels = head.bundle.header.units.map((unit) => unit.label)
      .filter((label) => head.bundle.has(label) && head.isLast(head.bundle.number.get(label)));
    const found = [];
    for (const [k, label] of labels.entries()) {
      if (k % 8 === 0) fill(box, el("p", { class: "note", role: "status", text: `Reading cell ${k + 1} of ${labels.length} …` }));
      const other = label === life.label ? life
        : new Life(head.bundle, label, await head.bundle.unit(label));
      const weight = head.weight[chosen * head.units + other.number];
      found.push({ label, part: accountOf(other, at, weight, head.bundle.header.head.shown).total });
    }
    found.sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
    const most = Math.abs(found[0]?.part ?? 1);
    const rows = found.slice(0, TOP_WRITES).map(({ label, part }) => [
      button(label, () => this.on.pickUnit(label), { class: "link" }), signedBar(part, most),
      head.bundle.unitNamed(label).sentence]);
    const total = found.reduce((sum, one) => sum + one.part, 0);
    const listed = rows.length;
    const rest = total - found.slice(0, listed).reduce((sum, one) => sum + one.part, 0);
    if (found.length > listed) rows.push([`the other ${whole(found.length - listed)}`, signedBar(rest, most), ""]);
    const missing = head.bundle.header.units.length - found.length;
    if (known && missing > 0) {
      rows.push([`${whole(missing)} that are not in this file`, signedBar(known.logit - total - head.bias[chosen], most), ""]);
    }
    fill(box, plainTable("Cells by what they give to this output here", ["cell", "gives", "what it does"], rows,
      { class: "writes" }));
  }
}

/** What the model says, from the arrays of a bundle; null where it is not known. */
export async function headOf(bundle) {
  if (!bundle.header.head) return null;
  const [weight, bias, output, logit] = await Promise.all(
    ["head/weight", "head/bias", "said/output", "said/logit"].map((name) => bundle.array(name)));
  const units = bundle.header.units.length;
  const each = output.length / bundle.steps;
  const last = Math.max(...bundle.header.units.map((unit) => unit.layer));
  return {
    bundle, weight, bias, units,
    isLast: (number) => bundle.header.units[number].layer === last,
    saidAt: (t) => Array.from({ length: each }, (_, k) => ({ output: output[t * each + k], logit: logit[t * each + k] })),
    firstAt: (t) => output[t * each],
  };
}
