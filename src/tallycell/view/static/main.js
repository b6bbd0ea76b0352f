// The page: its frame, its views, and which of them is seen.
import { el, fill, announce } from "./dom.js";
import { Bundle, EmbeddedSource, ServedSource } from "./bundle.js";
import { Pyramid } from "./pyramid.js";
import { Life } from "./cell.js";
import { ledgerOf, accountOf } from "./ledger.js";
import { States } from "./find.js";
import { shownState, show, onShown } from "./state.js";
import { startTheme, themeSwitch } from "./theme.js";
import { networkHead, remarksOf, messagePage } from "./overview.js";
import { UnitsTable, chosenUnits } from "./units_table.js";
import { Carpet } from "./carpet.js";
import { UnitView } from "./unit_view.js";
import { FindView } from "./find_view.js";
import { HoldView } from "./hold_view.js";
import { Machine, Network } from "./machine.js";
import { runCell } from "./play.js";
import { countUntilWrong } from "./lesson.js";
import { PlayView } from "./play_view.js";
import { MachineView } from "./machine_view.js";
import { LessonView } from "./lesson_view.js";
import { whole } from "./numbers.js";

const VERSION = 1;

/** What was read beside the cells: symbols, times, and quantities with their pyramids. */
async function whatIsKnown(bundle) {
  const { header } = bundle;
  const [codes, times, ...series] = await Promise.all([bundle.array("symbol"), bundle.array("time"),
    ...header.series.map((_, k) => bundle.array(`series/${k}`))]);
  return {
    symbols: codes && { ...header.symbols, codes, breaks: new Set(header.symbols.breaks) },
    times,
    series: header.series.map((about, k) => ({ ...about, raw: series[k], values: new Pyramid(series[k]) })),
    order: () => (chosenUnits(bundle).labels.length ? chosenUnits(bundle).labels : header.units.map((unit) => unit.label)),
  };
}

function frame(box, views) {
  const links = Object.entries(views).map(([name, { title }]) => el("a", { href: `#view=${name}`, "data-view": name,
    on: { click: (event) => { event.preventDefault(); show({ view: name === "overview" ? null : name }, { push: true }); } } }, title));
  const main = el("main", { id: "main", tabindex: -1 });
  fill(box,
    el("a", { class: "skip", href: "#main", on: { click: (event) => { event.preventDefault(); main.focus(); } } }, "To the content"),
    el("div", { class: "top" }, el("span", { class: "brand", text: "tallycell" }),
      el("nav", { "aria-label": "Views" }, ...links), themeSwitch()), main);
  return { main, links };
}

function startViews(box, bundle, views) {
  const { main, links } = frame(box, views);
  const made = {};
  const arrive = () => {
    const [first] = Object.keys(views);
    const name = Object.hasOwn(views, shownState().view ?? first) ? shownState().view ?? first : first;
    for (const link of links) {
      if (link.dataset.view === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const isNew = main.dataset.view !== name;
    made[name] ??= views[name].make();
    if (isNew) {
      fill(main, made[name].box);
      main.dataset.view = name;
      scrollTo(0, 0);
      announce(views[name].title);
    }
    Promise.resolve(made[name].arrive?.()).catch((error) => {
      console.error(error);
      announce(`This cannot be shown: ${error.message}`);
      made[name].box.prepend(el("p", { class: "warning", role: "alert", text: `This cannot be shown: ${error.message}.` }));
    });
  };
  onShown(arrive);
  arrive();
}

function overviewOf(bundle, known) {
  const kept = bundle.kept.size < bundle.header.units.length
    ? el("p", { class: "note", text: `This file holds every step of ${whole(bundle.kept.size)} units of `
      + `${whole(bundle.header.units.length)}: those that matter or read best. Of the others (dimmed) it holds all but their steps.` })
    : null;
  const table = new UnitsTable(bundle);
  const place = el("div");
  const box = el("div", { class: "view" }, networkHead(bundle), remarksOf(bundle.header), place, table.box, kept);
  let carpet = null;
  return { box, arrive: async () => {
    table.arrive();
    if (!carpet) {
      carpet = new Carpet(bundle, await known);
      fill(place, carpet.box);
    }
    await carpet.arrive();
  } };
}

/** A view that is made when what it needs is known. */
function later(make) {
  const box = el("div", {}, el("p", { class: "hint", role: "status", text: "Reading …" }));
  let view = null;
  return { box, arrive: async () => {
    if (!view) {
      view = await make();
      fill(box, view.box);
    }
    await view.arrive();
  } };
}

function findFrom(span) {
  show({ view: "find", mark: `${span[0]}-${span[1]}`, cells: null, enough: null }, { push: true });
}

/** The views that need no trace: the lesson, one cell to play with, and a counter machine. */
function playViews({ lesson, machine }) {
  return {
    ...(lesson ? { lesson: { title: "Lesson", make: () => new LessonView(machine) } } : {}),
    ...(machine ? { machine: { title: "Machine", make: () => new MachineView(machine) } } : {}),
    play: { title: "Play", make: () => new PlayView() },
  };
}

async function begin() {
  const box = document.getElementById("page");
  startTheme();
  const source = document.getElementById("header") ? new EmbeddedSource() : new ServedSource();
  try {
    const header = await source.header();
    if (header.version !== VERSION) throw new Error(`the bundle has version ${header.version}, this page shows ${VERSION}`);
    const bundle = new Bundle(header, source);
    const known = whatIsKnown(bundle);
    globalThis.tallycell = { bundle, Life, ledgerOf, accountOf, States, Machine, Network, runCell, countUntilWrong }; // for whoever wants the numbers, in the console
    startViews(box, bundle, header.units.length ? {
      overview: { title: "Network", make: () => overviewOf(bundle, known) },
      unit: { title: "Unit", make: () => later(async () => new UnitView(bundle, { ...await known, find: findFrom })) },
      find: { title: "Find", make: () => later(async () => new FindView(bundle, await known)) },
      ...(header.can_hold ? { hold: { title: "Hold", make: () => later(async () => new HoldView(bundle, await known)) } } : {}),
      ...playViews(header),
    } : playViews(header));
    await known;
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    messagePage(box, "This page cannot be shown", `${error.message}.`);
  }
}

begin();
