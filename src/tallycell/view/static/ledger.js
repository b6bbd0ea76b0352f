// The ledger of a cell: what each step's write is worth in it now; and the account of an output, in the same entries.

/**
 * Say what a cell is made of at a step: every write as far as it was kept since, what clipping took, and the start.
 * @param {import("./cell.js").Life} life
 * @param {number} at
 * @returns {{at: number, first: number, parts: Float64Array, clipped: number, initial: number, cell: number}}
 *   `parts` in time from step `first` on; with `clipped` and `initial` they sum to the cell, to rounding.
 */
export function ledgerOf(life, at) {
  const { sequence, first, by } = life.beginning(at);
  const low = Math.min(first, at);
  const parts = new Float64Array(Math.abs(at - first) + 1);
  let kept = 1;
  let clipped = 0;
  for (let t = at; ; t -= by) {
    if (kept !== 0) {
      parts[t - low] = kept * life.write[t];
      if (life.clip !== null) clipped += kept * takenByClipping(life, t);
    }
    kept *= life.f[t];
    if (t === first) break;
  }
  return { at, first: low, parts, clipped, initial: kept * life.c_0[sequence], cell: life.c[at] };
}

function takenByClipping(life, t) {
  const unclipped = life.f[t] * life.before(t) + life.write[t];
  return Math.abs(unclipped) > life.clip ? life.c[t] - unclipped : 0;
}

/**
 * By what a cell is multiplied in an output at a step, with the gates as they were.
 * @param {import("./cell.js").Life} life
 * @param {number} at
 * @param {number} weight of the linear layer
 * @param {string} before what stands before that layer: "identity" or "relu"
 * @returns {{ofCell: number, offset: number}} times the cell, and what is shown of a cell that is 0
 */
export function askedOf(life, at, weight, before) {
  const { at_zero: atZero, slope: flat } = life.slots.hidden;
  const c = life.c[at];
  const y = life.hidden(at);
  const h = life.o[at] * y;
  const passes = before === "relu" ? Number(h > 0) : 1;
  const slope = Math.abs(c) > (atZero ? 1e-8 : 0) ? (y - atZero) / c : flat;
  const shown = weight * passes * life.o[at];
  return { ofCell: shown * slope, offset: shown * atZero };
}

/**
 * Say what a cell gives to an output at a step, entry by entry.
 * @param {import("./cell.js").Life} life
 * @param {number} at
 * @param {number} weight
 * @param {string} before
 * @returns {{at: number, first: number, parts: Float64Array, rest: number, total: number}}
 *   `rest` is of the start, of clipping, and what is shown of a cell that is 0.
 */
export function accountOf(life, at, weight, before) {
  const ledger = ledgerOf(life, at);
  const { ofCell, offset } = askedOf(life, at, weight, before);
  const parts = ledger.parts.map((part) => part * ofCell);
  const rest = (ledger.initial + ledger.clipped) * ofCell + offset;
  let total = rest;
  for (const part of parts) total += part;
  return { at, first: ledger.first, parts, rest, total };
}

/** The places of the largest parts, up or down, the largest first; none that is 0. */
export function largest(parts, count) {
  const found = [];
  for (let k = 0; k < parts.length; k += 1) {
    const size = Math.abs(parts[k]);
    if (size === 0 || (found.length === count && size <= Math.abs(parts[found[count - 1]]))) continue;
    let place = found.length;
    while (place > 0 && size > Math.abs(parts[found[place - 1]])) place -= 1;
    found.splice(place, 0, k);
    if (found.length > count) found.pop();
  }
  return found;
}
