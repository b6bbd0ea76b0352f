// Where else do the same cells do this? Which cells are up or down throughout a span, and where they are so again.

export const NEAR = 0;
export const UP = 1;
export const DOWN = 2;
const RARE = 0.6; // share of all steps: a cell that is so more often says nothing of a place

/** Whether each cell is near 0, up or down at each step: four steps a byte. */
export class States {
  /** @param {Uint8Array} bytes @param {number} units @param {number} steps */
  constructor(bytes, units, steps) {
    this.bytes = bytes;
    this.units = units;
    this.steps = steps;
    this.each = Math.ceil(steps / 4);
    this.known = new Map();
  }

  at(unit, step) {
    return (this.bytes[unit * this.each + (step >> 2)] >> (2 * (step & 3))) & 3;
  }

  /** Shares of all steps at which a unit is near 0, up, and down. */
  shares(unit) {
    if (!this.known.has(unit)) {
      const counts = [0, 0, 0, 0];
      for (let t = 0; t < this.steps; t += 1) counts[this.at(unit, t)] += 1;
      this.known.set(unit, counts.slice(0, 3).map((count) => count / this.steps));
    }
    return this.known.get(unit);
  }

  /** Cells that are up, or down, at every step of a span and are not so nearly everywhere; the rarest first. */
  throughout([from, to]) {
    const found = [];
    for (let unit = 0; unit < this.units; unit += 1) {
      const state = this.at(unit, from);
      if (state === NEAR) continue;
      let t = from + 1;
      while (t < to && this.at(unit, t) === state) t += 1;
      if (t < to) continue;
      const share = this.shares(unit)[state];
      if (share <= RARE) found.push({ unit, state, share });
    }
    return found.sort((a, b) => a.share - b.share);
  }
}

/**
 * Count at each step how many of some conditions hold.
 * @param {((t: number) => boolean)[]} conditions
 * @param {number} steps
 */
export function countHolding(conditions, steps) {
  const counts = new Uint8Array(steps);
  for (const holds of conditions) for (let t = 0; t < steps; t += 1) if (holds(t)) counts[t] += 1;
  return counts;
}

/**
 * Stretches of steps at which enough of the conditions hold; none goes over the end of a sequence.
 * @param {Uint8Array} counts
 * @param {number} enough
 * @param {number[]} start first step of each sequence, and the number of all steps
 * @returns {{from: number, to: number, count: number}[]} in time; count is the most that hold at one step
 */
export function stretchesOf(counts, enough, start) {
  const found = [];
  for (let s = 0; s + 1 < start.length; s += 1) {
    let from = -1;
    let most = 0;
    for (let t = start[s]; t <= start[s + 1]; t += 1) {
      const holds = t < start[s + 1] && counts[t] >= enough;
      if (holds) {
        if (from < 0) [from, most] = [t, 0];
        most = Math.max(most, counts[t]);
      } else if (from >= 0) {
        found.push({ from, to: t, count: most });
        from = -1;
      }
    }
  }
  return found;
}

/** Stretches other than the one that was marked, the most alike first: in how many hold, then in length. */
export function rankedStretches(stretches, span) {
  const size = span ? span[1] - span[0] : 1;
  const others = stretches.filter((one) => !span || one.to <= span[0] || one.from >= span[1]);
  const unlike = (one) => Math.abs(Math.log((one.to - one.from) / size));
  return others.sort((a, b) => b.count - a.count || unlike(a) - unlike(b) || a.from - b.from);
}

/** Symbols that are read in some stretches more often than elsewhere: {code, share, chance}. */
export function sharedSymbols(stretches, codes, count, most = 3) {
  const [inside, all] = [new Float64Array(count), new Float64Array(count)];
  for (const code of codes) all[code] += 1;
  let steps = 0;
  for (const { from, to } of stretches) {
    for (let t = from; t < to; t += 1) inside[codes[t]] += 1;
    steps += to - from;
  }
  const found = [];
  for (let code = 0; code < count; code += 1) {
    const [share, chance] = [inside[code] / steps, all[code] / codes.length];
    if (inside[code] >= 3 && share >= 0.1 && share > 1.5 * chance) {
      found.push({ code, share, chance, sure: (share - chance) * Math.sqrt(steps / (chance * (1 - chance) || 1)) });
    }
  }
  return found.sort((a, b) => b.sure - a.sure).slice(0, most);
}

/** Quantities whose mean over some stretches is not that over all steps: {name, inside, all, away} in spreads. */
export function sharedQuantities(stretches, series, most = 3) {
  const found = series.map(({ name, units, raw }) => {
    let [n, sum, squares] = [0, 0, 0];
    for (const value of raw) if (!Number.isNaN(value)) { n += 1; sum += value; squares += value * value; }
    let [m, own] = [0, 0];
    for (const { from, to } of stretches) for (let t = from; t < to; t += 1) if (!Number.isNaN(raw[t])) { m += 1; own += raw[t]; }
    const mean = sum / n;
    const spread = Math.sqrt(Math.max(squares / n - mean * mean, 0));
    return { name, units, inside: own / m, all: mean, away: spread > 0 && m ? (own / m - mean) / spread : 0 };
  });
  return found.filter((one) => Math.abs(one.away) >= 0.5).sort((a, b) => Math.abs(b.away) - Math.abs(a.away)).slice(0, most);
}
