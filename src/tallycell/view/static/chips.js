// Small marks that stand for a unit: its role, and a bar for a number.
import { el } from "./dom.js";
import { signed } from "./numbers.js";

/** A bar of a share between 0 and 1, with what it says beside. */
export function shareBar(share, text, about = {}) {
  const inner = el("span", { class: "bar-fill" });
  inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return el("span", { class: `share-bar ${about.class ?? ""}` }, el("span", { class: "bar-track", "aria-hidden": "true" },
    inner), el("span", { class: "bar-text", text }));
}

/** A bar to the right or left of a middle line. */
export function signedBar(value, most, text = signed(value)) {
  const inner = el("span", { class: value < 0 ? "bar-fill is-down" : "bar-fill is-up" });
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) / 2 : 0;
  inner.style.width = `${share * 100}%`;
  inner.style.left = value < 0 ? `${(0.5 - share) * 100}%` : "50%";
  return el("span", { class: "signed-bar" }, el("span", { class: "bar-track", "aria-hidden": "true" }, inner),
    el("span", { class: "bar-text", text }));
}

/** The role of a unit. */
export function roleChip(role) {
  return el("span", { class: "role", "data-role": role, text: role });
}
