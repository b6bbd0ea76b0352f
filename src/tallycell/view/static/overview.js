// The first view: what the network is, how binary its gates, which roles its units have, what matters most.
import { el, fill, button } from "./dom.js";
import { digits, percent, whole, counted } from "./numbers.js";
import { shareBar, roleChip } from "./chips.js";
import { Sheet, saveButton } from "./sheet.js";
import { colours } from "./theme.js";
import { show } from "./state.js";

const FOREMOST_UNITS = 5;

/** The head of the page: three answers beside each other. */
export function networkHead(bundle) {
  const { header } = bundle;
  const [title, ...rest] = linesOf(header.about);
  const box = el("header", { class: "network" },
    el("h1", { text: title }),
    ...rest.map((line) => el("p", { class: "about", text: line })),
    rest.length ? null : el("p", { class: "about", text: `It is shown over ${counted(bundle.steps, "step")}.` }),
    header.warning ? el("p", { class: "warning", role: "note", text: `Warning: ${header.warning}.` }) : null,
    el("div", { class: "answers" }, binaryAnswer(header), rolesAnswer(header), matterAnswer(bundle)));
  return box;
}

/** The title and what stands below it: a first line such as "model.pt: LSTM of 8 units" is both. */
function linesOf([first, ...rest]) {
  const at = first.indexOf(": ");
  const lines = at > 0 ? [first.slice(0, at), first.slice(at + 2), ...rest] : [first, ...rest];
  return lines.map((line) => line.charAt(0).toUpperCase() + line.slice(1));
}

function binaryAnswer(header) {
  if (header.saturated === null) return null;
  const sheet = new Sheet("How often each gate has which value", 24 * header.gates.length + 18,
    (one) => drawGates(one, header.gates));
  const beside = header.saturated_nothing === null ? ""
    : ` Where nothing is learned it is ${percent(header.saturated_nothing)}.`;
  const table = el("div", { class: "unseen" }, el("table", {}, el("caption", { text: "Share of values at the left limit, between and at the right one" }),
    ...header.gates.map((gate) => el("tr", {}, el("th", { scope: "row", text: `${gate.gate}, ${gate.name}` }),
      ...[gate.left, 1 - gate.left - gate.right, gate.right].map((share) => el("td", { text: percent(share) }))))));
  return el("section", { class: "answer" }, el("h2", { text: "How binary?" }),
    el("p", { class: "figure" }, el("strong", { text: percent(header.saturated) }), " of gate values are at a limit."),
    el("p", { class: "note", text: `A gate at its limits says yes or no.${beside}` }), sheet.canvas, table,
    saveButton("the gates", () => ({ title: `${percent(header.saturated)} of gate values are at a limit.${beside}`,
      canvases: [sheet.canvas], file: "gates.png" })));
}

function drawGates(sheet, gates) {
  const { ink, soft, cell, leak } = colours();
  const left = Math.min(146, sheet.width * 0.42);
  const right = sheet.width - 44;
  gates.forEach((gate, k) => {
    const y = 24 * k;
    sheet.write(gate.gate, 0, y + 14, { size: 12, weight: 600 });
    if (left > 110) sheet.write(gate.name, 54, y + 14, { size: 11, colour: soft, most: left - 62 });
    const most = Math.max(...gate.histogram, 1e-9);
    const width = (right - left) / gate.histogram.length;
    gate.histogram.forEach((share, j) => {
      const atEnd = j === 0 || j === gate.histogram.length - 1;
      const height = Math.max(share > 0 ? 1 : 0, 18 * share / most);
      sheet.bar(left + j * width, y + 20 - height, width - 1.5, height, atEnd ? cell : leak);
    });
    sheet.write(percent(gate.left + gate.right), sheet.width, y + 14, { size: 12, align: "right", colour: ink });
  });
  const y = 24 * gates.length + 8;
  sheet.write("left limit", left, y, { size: 11, colour: soft });
  sheet.write("right limit", right, y, { size: 11, colour: soft, align: "right" });
}

function rolesAnswer(header) {
  const units = header.units.length;
  const most = Math.max(...header.roles.map((one) => one.count));
  const compared = header.roles.some((one) => one.nothing !== null);
  const rows = [...header.roles].sort((a, b) => b.count - a.count).map((one) => {
    const beside = one.nothing === null ? "" : ` · ${percent(one.nothing)} if nothing is learned`;
    return el("li", { class: one.no_sign ? "no-sign" : null },
      button(one.role, () => { show({ view: null, role: one.role }); document.getElementById("units")?.scrollIntoView(); },
        { class: "link role", "data-role": one.role, title: "Show these units" }),
      shareBar(one.count / most, `${whole(one.count)}`), el("span", { class: "note", text: `${percent(one.count / units)}${beside}` }));
  });
  return el("section", { class: "answer" }, el("h2", { text: "What are its units?" }),
    el("p", { class: "figure" }, el("strong", { text: whole(units) }), ` ${units === 1 ? "unit" : "units"}, each with a role by written rules.`),
    el("ul", { class: "roles" }, ...rows),
    compared ? el("p", { class: "note", text: "Beside it: the same in networks of its shape that learned nothing." }) : null);
}

function matterAnswer(bundle) {
  const { effects, best } = bundle.header;
  const labels = effects ? effects.most : best;
  const chosen = labels.slice(0, FOREMOST_UNITS).map((label) => bundle.unitNamed(label));
  const most = Math.max(...chosen.map((unit) => unit.effect?.loss ?? 0), 1e-12);
  const rows = chosen.map((unit) => el("li", {},
    button(unit.label, () => show({ view: "unit", unit: unit.label, steps: null, at: null }, { push: true }), { class: "link" }),
    effects ? shareBar(unit.effect.loss / most, digits(unit.effect.loss, 2)) : roleChip(unit.role),
    el("span", { class: "gist", text: gistOf(unit) })));
  const heading = effects ? "What matters most?" : "Which units read best?";
  const note = effects
    ? chosen.length ? `What the outputs lose when the cell is held at 0, in ${effects.unit}`
      + `${effects.score === "divergence" ? "" : `, of ${digits(effects.free)}`}.`
      : effects.answer
    : "What the outputs lose without them is not measured: no linear layer behind this LSTM is known, or it was left out.";
  return el("section", { class: "answer" }, el("h2", { text: heading }),
    el("p", { class: "figure" }, effects
      ? [el("strong", { text: whole(effects.most.length) }), ` of ${counted(bundle.header.units.length, "unit")} have an effect that is not noise.`]
        .reduce((box, one) => { box.append(one); return box; }, el("span"))
      : `The ${whole(chosen.length)} that a simple counter explains best.`),
    el("ol", { class: "foremost" }, ...rows), el("p", { class: "note", text: note }));
}

/** The beginning of a sentence: what a unit does. */
export function gistOf(unit) {
  return unit.sentence.split("; ")[0].replace(/\.?$/, ".");
}

/** Further remarks, closed at first. */
export function remarksOf(header) {
  const lines = [...(header.effects?.remarks ?? []), ...header.notes,
    ...header.leaders.map((one) => `Unit ${one.label} follows ${one.quantity} best.`)];
  if (!lines.length) return null;
  return el("details", { class: "behind" }, el("summary", { text: "How this was measured" }),
    el("ul", {}, ...lines.map((line) => el("li", { text: line }))));
}

/** A message in the place of the page. */
export function messagePage(box, title, text) {
  fill(box, el("main", { class: "message" }, el("h1", { text: title }), el("p", { text })));
}
