// What is said of a unit: its sentence and the evidence for it, above its picture and below.
import { el, fill, button, announce, plainTable } from "./dom.js";
import { percent, whole } from "./numbers.js";
import { shownState, show } from "./state.js";
import { roleChip } from "./chips.js";

/**
 * Say what a unit does, and how to get to another.
 * @returns {HTMLElement} a notice, hidden, that its steps are not at hand
 */
export function fillHead(box, bundle, order, label) {
  const unit = bundle.unitNamed(label);
  const place = order.indexOf(label);
  const go = (by) => () => show({ unit: order[(place + by + order.length) % order.length], at: shownState().at },
    { push: true });
  const [first, ...rest] = unit.sentence.replace(/\.$/, "").split("; ");
  const list = box.querySelector("datalist") ?? el("datalist", { id: "unit-names" },
    ...bundle.header.units.map((one) => el("option", { value: one.label })));
  const input = el("input", { list: "unit-names", value: label, "aria-label": "Choose a unit", size: 8,
    autocomplete: "off", spellcheck: "false", on: { change: () => {
      if (bundle.number.has(input.value.trim())) show({ unit: input.value.trim() }, { push: true });
      else announce(`There is no unit ${input.value}`);
    }, focus: () => input.select() } });
  const missing = el("p", { class: "notice", hidden: true, text: `This file holds every step of ${whole(bundle.kept.size)} units `
    + `of ${whole(order.length)}, so that it stays small; unit ${label} is not among them. `
    + "tallycell view shows all." });
  fill(box, el("div", { class: "unit-choice" },
    button("‹", go(-1), { class: "quiet", "aria-label": "Unit before" }), el("label", { class: "field" },
      el("span", {}, "Unit"), input), list, button("›", go(1), { class: "quiet", "aria-label": "Next unit" }),
    roleChip(unit.role), el("span", { class: "note", text: `${place + 1} of ${whole(order.length)}` })),
  el("h1", { class: "sentence", tabindex: -1 }, `${first}.`),
  rest.length ? el("p", { class: "rest", text: `${capital(rest.join("; "))}.` }) : null,
  el("p", { class: "proof", text: proofOf(unit) }), missing);
  announce(`Unit ${label}: ${first}`);
  return missing;
}

/** Show the evidence of a unit. */
export function fillEvidence(box, unit, followed) {
  const ladder = unit.ladder.map((one) => [one.name, one.parameters, one.said]);
  const triggers = Object.entries(unit.triggers).flatMap(([event, some]) =>
    some.map((one) => [event, one.stimulus, percent(one.share), percent(one.chance), one.count]));
  const legend = el("ul", { class: "legend", "aria-label": "Legend" },
    el("li", { class: "key-cell", text: "cell" }),
    unit.tally && el("li", { class: "key-tally", text: "its tally: a counter that sees events, never the cell" }),
    followed && el("li", { class: "key-quantity", text: `${followed}, laid over the cell` }),
    el("li", { class: "key-up", text: "written up (▲ a full step)" }),
    el("li", { class: "key-down", text: "written down (▼ a full step)" }),
    el("li", { class: "key-dark", text: "forgotten: × a reset" }));
  fill(box, legend, el("div", { class: "two" },
    el("div", { class: "scroll" }, plainTable("What brings its events", ["event", "at", "happens", "of all steps", "seen"],
      triggers.length ? triggers : [["none above chance", "", "", "", ""]])),
    el("div", { class: "scroll" }, plainTable("Counters that were fitted, the simplest first", ["counter", "numbers", "R²"],
      ladder))));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The evidence of a unit in one line. */
function proofOf(unit) {
  const parts = [];
  if (unit.r2 !== null) parts.push(`a counter of ${unit.parameters} numbers explains R² = ${unit.said_r2} of it, on steps not fitted on`);
  if (unit.exposure) {
    parts.push(`it shows a sign at ${percent(unit.exposure.sign)} of the steps, nothing at ${percent(unit.exposure.nothing)}`);
  }
  if (unit.effect) parts.push(unit.effect.said.split("; ")[0]);
  if (unit.undecided) parts.push(`with this R² it may as well be a ${unit.undecided}`);
  return parts.length ? `Evidence: ${parts.join("; ")}.` : "";
}
