// Which steps are seen: wheel, keys, drag and fingers move the window; a drag marks a span, a click a step.
import { whole } from "./numbers.js";

const NARROWEST = 12; // steps
const MOST_IN_TABLE = 300;

/** A window over some steps. */
export class Window {
  /** @param {number} low @param {number} high */
  constructor(low, high) {
    this.listeners = new Set();
    this.reset(low, high);
  }

  /** Take other steps, all of which are seen. */
  reset(low, high) {
    this.low = low;
    this.high = high;
    this.from = low;
    this.to = high;
  }

  /** See the steps from one to before another, as far as they are there. */
  see(from, to) {
    const size = Math.min(Math.max(to - from, NARROWEST), this.high - this.low);
    const middle = (from + to) / 2;
    let first = Math.round(middle - size / 2);
    first = Math.min(Math.max(first, this.low), this.high - Math.round(size));
    const last = first + Math.round(size);
    if (first === this.from && last === this.to) return;
    this.from = first;
    this.to = last;
    for (const listener of this.listeners) listener(this);
  }

  get size() {
    return this.to - this.from;
  }

  /** See more (above 1) or less around a step. */
  scale(by, around = (this.from + this.to) / 2) {
    const size = Math.min(Math.max(this.size * by, NARROWEST), this.high - this.low);
    const share = (around - this.from) / this.size;
    const from = around - share * size;
    this.see(from, from + size);
  }

  /** Go on by a share of what is seen. */
  pan(share) {
    const by = Math.sign(share) * Math.max(1, Math.round(Math.abs(share) * this.size));
    this.see(this.from + by, this.to + by);
  }

  /** Have a step within what is seen. */
  include(step) {
    if (step < this.from || step >= this.to) this.see(step - this.size / 2, step + this.size / 2);
  }
}

/** The first steps that are seen, as a table behind a picture. */
export function tableOfSeen(seen, heads, rowOf) {
  const count = Math.min(seen.size, MOST_IN_TABLE);
  return { heads, rows: Array.from({ length: count }, (_, k) => rowOf(seen.from + k)),
    note: count < seen.size ? `The first ${count} of ${whole(seen.size)} steps; zoom to see others.` : "" };
}

/**
 * Let a canvas move a window.
 * @param {import("./sheet.js").Sheet} sheet
 * @param {Window} seen
 * @param {{stepAt: (x: number) => number, hover?: (step: number|null) => void, pick?: (step: number) => void,
 *   mark?: (span: [number, number]|null, done: boolean) => void, key?: (event: KeyboardEvent) => boolean}} on
 */
export function moveBy(sheet, seen, on) {
  const { canvas } = sheet;
  const fingers = new Map();
  let began = null;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const place = (event) => event.clientX - canvas.getBoundingClientRect().left;

  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return; // the page scrolls
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      seen.pan((event.deltaX || event.deltaY) / Math.max(sheet.width, 1));
    } else seen.scale(1.0015 ** event.deltaY, on.stepAt(place(event)));
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.focus({ preventScroll: true });
    fingers.set(event.pointerId, place(event));
    began = { x: place(event), step: on.stepAt(place(event)), from: seen.from, to: seen.to, moved: false,
      fingers: [...fingers.values()] };
    if (event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
  });

  canvas.addEventListener("pointermove", (event) => {
    const x = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, x);
    if (!began || !fingers.has(event.pointerId)) {
      on.hover?.(on.stepAt(x));
      return;
    }
    began.moved ||= Math.abs(x - began.x) > 4;
    if (!began.moved) return;
    const perPixel = (began.to - began.from) / Math.max(sheet.width, 1);
    if (event.pointerType === "touch" && fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const [c, d] = began.fingers.length === 2 ? began.fingers : [a, b];
      const by = Math.abs(c - d) / Math.max(Math.abs(a - b), 10);
      const middle = began.from + (c + d) / 2 * perPixel;
      seen.see(middle - (middle - began.from) * by, middle + (began.to - middle) * by);
    } else if (event.pointerType === "touch" || event.shiftKey || !on.mark) {
      const by = Math.round((began.x - x) * perPixel);
      seen.see(began.from + by, began.to + by);
    } else on.mark(ordered(began.step, on.stepAt(x)), false);
  });

  const end = (event) => {
    fingers.delete(event.pointerId);
    if (!began) return;
    const { moved, step } = began;
    began = null;
    if (event.type === "pointercancel") return;
    if (!moved) on.pick?.(step);
    else if (event.pointerType !== "touch" && !event.shiftKey) on.mark?.(ordered(step, on.stepAt(place(event))), true);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => on.hover?.(null));
  canvas.addEventListener("dblclick", (event) => seen.scale(0.4, on.stepAt(place(event))));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (on.key?.(event) || moveByKey(seen, event.key)) event.preventDefault();
  });
}

function ordered(a, b) {
  return [Math.min(a, b), Math.max(a, b) + 1];
}

/** Move a window by a key; whether the key is one of those that do. */
export function moveByKey(seen, key) {
  const moves = {
    ArrowLeft: () => seen.pan(-0.2), a: () => seen.pan(-0.2), ArrowRight: () => seen.pan(0.2), d: () => seen.pan(0.2),
    "+": () => seen.scale(0.7), "=": () => seen.scale(0.7), w: () => seen.scale(0.7),
    "-": () => seen.scale(1 / 0.7), s: () => seen.scale(1 / 0.7), 0: () => seen.see(seen.low, seen.high),
    Home: () => seen.see(seen.low, seen.low + seen.size), End: () => seen.see(seen.high - seen.size, seen.high),
  };
  if (!Object.hasOwn(moves, key)) return false;
  moves[key]();
  return true;
}
