// What is shown, kept in the part of the address behind #, so that a link opens the same again.

const listeners = new Set();
let current = parsed();
let written = location.hash; // as the address was when this was read or written

function parsed() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** Give what is shown: every value is text; what is not there is undefined. */
export function shownState() {
  return current;
}

/**
 * Change what is shown; null takes a value away.
 * @param {Object<string, string|number|null>} changes
 * @param {{push?: boolean}} [how] push: the browser's way back leads to what was before
 */
export function show(changes, { push = false } = {}) {
  if (location.hash !== written) arrive(); // the way back was taken, and its event is still to come
  const next = { ...current };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined) delete next[name];
    else next[name] = String(value);
  }
  if (JSON.stringify(next) === JSON.stringify(current)) return;
  const before = current;
  current = next;
  const address = `#${new URLSearchParams(next)}`;
  try {
    if (push) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    written = location.hash;
  } catch {
    // A frame without an address of its own (a notebook's) keeps no history.
  }
  for (const listener of listeners) listener(current, before);
}

/** Call a function with (now, before) whenever what is shown changes. */
export function onShown(listener) {
  listeners.add(listener);
}

function arrive() {
  const before = current;
  current = parsed();
  written = location.hash;
  if (JSON.stringify(before) === JSON.stringify(current)) return;
  for (const listener of listeners) listener(current, before);
}

addEventListener("hashchange", arrive);
addEventListener("popstate", arrive);

/** Read a span such as "120-300": the first step and the one behind the last. */
export function spanOf(text, steps) {
  const found = /^(\d+)-(\d+)$/.exec(text ?? "");
  if (!found) return null;
  const from = Math.min(Number(found[1]), Math.max(steps - 2, 0));
  const to = Math.min(Number(found[2]), steps);
  return to > from + 1 ? [from, to] : null;
}
