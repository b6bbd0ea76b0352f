// Colours: those of the style sheet, by name, as pictures need them; light, dark, or as the system has it.
import { el, fill, button } from "./dom.js";
import { shownState, show, onShown } from "./state.js";

const NAMES = ["paper", "ink", "soft", "faint", "line", "up", "down", "cell", "tally", "quantity", "accent", "dark",
  "leak", "wash"];
const themeListeners = new Set();
let palette = null;

/** Give the colours that hold now. */
export function colours() {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    palette.font = style.getPropertyValue("--font").trim() || "sans-serif";
    palette.fixed = style.getPropertyValue("--fixed").trim() || "monospace";
  }
  return palette;
}

/** Call a function whenever colours change. */
export function onTheme(listener) {
  themeListeners.add(listener);
}

function applyTheme() {
  const wanted = shownState().theme;
  if (wanted === "dark" || wanted === "light") document.documentElement.dataset.theme = wanted;
  else delete document.documentElement.dataset.theme;
  palette = null;
  for (const listener of themeListeners) listener();
}

function isDark() {
  const wanted = document.documentElement.dataset.theme;
  return wanted ? wanted === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The switch between light and dark. */
export function themeSwitch() {
  const one = button("", () => show({ theme: isDark() ? "light" : "dark" }), { class: "quiet", id: "theme" });
  const label = () => {
    const next = isDark() ? "Light" : "Dark";
    fill(one, isDark() ? "☀" : "☾", el("span", { class: "wide", text: ` ${next}` }));
    one.setAttribute("aria-label", `Switch to ${next.toLowerCase()} colours`);
  };
  onTheme(label);
  label();
  return one;
}

/** Begin with the theme that the address asks for, and follow the system. */
export function startTheme() {
  applyTheme();
  onShown((now, before) => { if (now.theme !== before.theme) applyTheme(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
}

/** Mix a colour into the paper: 0 gives the paper, 1 the colour. Both are written #rrggbb. */
export function mixed(colour, paper, share) {
  const part = (at) => Math.round(parseInt(paper.slice(at, at + 2), 16) * (1 - share)
    + parseInt(colour.slice(at, at + 2), 16) * share);
  return `rgb(${part(1)}, ${part(3)}, ${part(5)})`;
}
