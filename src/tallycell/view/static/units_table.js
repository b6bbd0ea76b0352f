// The table of units: sorted, filtered by role, searched in the sentences.
import { el, fill, button, dropDown, announce } from "./dom.js";
import { whole, digits, counted } from "./numbers.js";
import { shareBar, roleChip } from "./chips.js";
import { shownState, show } from "./state.js";
import { saveTableButton } from "./sheet.js";

const AT_FIRST = 40; // rows
const infinite = (value) => value ?? Infinity; // JSON has none: a cell that never forgets
const SORTS = {
  matters: ["what matters", (unit) => -(unit.effect?.loss ?? -Infinity)],
  best: ["how well it reads", null],
  r2: ["R²", (unit) => -(unit.r2 ?? -Infinity)],
  memory: ["memory", (unit) => -infinite(unit.memory)],
  follows: ["what it follows", (unit) => -Math.abs(unit.follows?.correlation ?? 0)],
  number: ["its number", (unit, k) => k],
};

let chosenBefore = { key: null, found: null };

/** The units in the order, and with the filters, that the address asks for. */
export function chosenUnits(bundle) {
  const { sort, role, q } = shownState();
  const key = JSON.stringify([sort, role, q]);
  if (chosenBefore.key !== key || chosenBefore.bundle !== bundle) {
    const found = chooseUnits(bundle, shownState());
    chosenBefore = { key, bundle, found: { ...found, labels: found.units.map((unit) => unit.label) } };
  }
  return chosenBefore.found;
}

function chooseUnits(bundle, state) {
  const { header } = bundle;
  const sort = SORTS[state.sort] && !(state.sort === "matters" && !header.effects) ? state.sort
    : header.effects ? "matters" : "best";
  const place = new Map(header.best.map((label, k) => [label, k]));
  const keyOf = SORTS[sort][1] ?? ((unit) => place.get(unit.label));
  const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = header.units
    .map((unit, k) => ({ unit, key: keyOf(unit, k), k }))
    .filter(({ unit }) => (!state.role || unit.role === state.role)
      && words.every((word) => `${unit.label} ${unit.role} ${unit.sentence}`.toLowerCase().includes(word)));
  found.sort((a, b) => (a.key === b.key ? a.k - b.k : a.key - b.key));
  return { units: found.map((one) => one.unit), sort };
}

/** The table with its controls. */
export class UnitsTable {
  constructor(bundle) {
    this.bundle = bundle;
    this.limit = AT_FIRST;
    const { header } = bundle;
    const state = shownState();
    this.search = el("input", { type: "search", placeholder: "Search in the sentences: snow, ')', newline …",
      "aria-label": "Search in the sentences", value: state.q ?? "", on: {
        input: () => { this.limit = AT_FIRST; show({ q: this.search.value || null }); } } });
    const roles = [{ value: "", text: "all roles" }, ...header.roles.map((one) => ({ value: one.role, text: `${one.role} (${one.count})` }))];
    this.role = dropDown("Role", roles, state.role ?? "", (value) => show({ role: value || null }));
    const sorts = Object.entries(SORTS).filter(([name]) => name !== "matters" || header.effects)
      .filter(([name]) => name !== "follows" || header.units.some((unit) => unit.follows))
      .map(([value, [text]]) => ({ value, text }));
    this.sort = dropDown("Sort by", sorts, chosenUnits(bundle).sort, (value) => show({ sort: value }));
    this.count = el("p", { class: "note", role: "status" });
    this.rows = el("div");
    const save = saveTableButton("the units", "units.csv", () => [["unit", "role", "R2", "numbers", "loss", "what it does"],
      ...chosenUnits(bundle).units.map((unit) => [unit.label, unit.role, unit.r2, unit.parameters, unit.effect?.loss, unit.sentence])]);
    this.box = el("section", { class: "units", id: "units", "aria-label": "Units" },
      el("h2", { text: "Every unit in a sentence" }),
      el("div", { class: "controls" }, this.search, this.role, this.sort, save), this.count, this.rows);
  }

  /** Show the units that the address asks for. */
  arrive() {
    const { q, role, sort, unit } = shownState();
    const key = JSON.stringify([q, role, sort, unit]);
    if (key === this.key) return;
    this.key = key;
    this.draw();
  }

  draw() {
    const { units } = chosenUnits(this.bundle);
    const state = shownState();
    this.role.lastChild.value = state.role ?? "";
    if (document.activeElement !== this.search) this.search.value = state.q ?? "";
    const most = Math.max(...this.bundle.header.units.map((unit) => unit.effect?.loss ?? 0), 1e-12);
    const all = this.bundle.header.units.length;
    const said = units.length === all ? `All ${counted(all, "unit")}` : `${whole(units.length)} of ${counted(all, "unit")}`;
    if (said !== this.count.textContent) this.count.textContent = said;
    const table = el("table", { class: "unit-rows" },
      el("thead", {}, el("tr", {}, ...["unit", "role", "R²", this.bundle.header.effects ? "costs" : null, "what it does"]
        .filter(Boolean).map((head) => el("th", { scope: "col", text: head })))),
      el("tbody", {}, ...units.slice(0, this.limit).map((unit) => this.row(unit, most, state))));
    fill(this.rows, units.length ? table : el("p", { class: "hint", text: "No unit is like that. Take a word away, or another role." }),
      units.length > this.limit ? button(`Show all ${whole(units.length)}`, () => {
        this.limit = Infinity;
        this.draw();
        announce(`All ${units.length} units are shown`);
      }) : null);
  }

  row(unit, most, state) {
    const open = () => show({ view: "unit", unit: unit.label, steps: null, at: null, mark: null }, { push: true });
    const link = button(unit.label, open, { class: "link", "aria-label": `Unit ${unit.label}` });
    const cells = [el("th", { scope: "row" }, link), el("td", {}, roleChip(unit.role)),
      el("td", { class: "number", "data-head": "R²", text: unit.said_r2 })];
    if (this.bundle.header.effects) {
      cells.push(el("td", { class: "cost", "data-head": "costs" }, unit.effect
        ? shareBar(unit.effect.sure ? unit.effect.loss / most : 0, unit.effect.sure ? digits(unit.effect.loss, 2) : "noise",
          { class: unit.effect.sure ? "" : "unsure" }) : "–"));
    }
    cells.push(el("td", { class: "said" }, ...sentenceParts(unit)));
    const made = el("tr", { class: [unit.label === state.unit ? "is-shown" : "", this.bundle.has(unit.label) ? "" : "is-missing"]
      .filter(Boolean).join(" ") || null }, ...cells);
    made.addEventListener("click", (event) => { if (!event.target.closest("button") && getSelection().isCollapsed) open(); });
    return made;
  }
}

/** The sentence of a unit, its beginning strong. */
function sentenceParts(unit) {
  const at = unit.sentence.indexOf("; ");
  if (at < 0) return [el("span", { class: "first", text: unit.sentence })];
  return [el("span", { class: "first", text: unit.sentence.slice(0, at) }), unit.sentence.slice(at)];
}
