// The smallest and the largest of any stretch of values, in as many looks as the stretch has digits.

const FACTOR = 8;

/** Minima and maxima over 8, 64, 512, ... steps. NaN is neither. */
export class Pyramid {
  /** @param {ArrayLike<number>} values */
  constructor(values) {
    this.length = values.length;
    const own = values instanceof Float32Array ? values : new Float32Array(values); // of one kind, engines are fast
    this.levels = [{ size: 1, low: own, high: own }];
    let { low, high } = this.levels[0];
    for (let size = FACTOR; low.length > FACTOR; size *= FACTOR) {
      const count = Math.ceil(low.length / FACTOR);
      const [belowLow, belowHigh] = [low, high];
      low = new Float32Array(count);
      high = new Float32Array(count);
      for (let k = 0; k < count; k += 1) {
        let least = Infinity;
        let most = -Infinity;
        const end = Math.min((k + 1) * FACTOR, belowLow.length);
        for (let j = k * FACTOR; j < end; j += 1) {
          if (belowLow[j] < least) least = belowLow[j];
          if (belowHigh[j] > most) most = belowHigh[j];
        }
        low[k] = least;
        high[k] = most;
      }
      this.levels.push({ size, low, high });
    }
  }

  /** Give [smallest, largest] from one step to before another; [Infinity, -Infinity] of none. */
  range(from, to) {
    let least = Infinity;
    let most = -Infinity;
    let at = Math.max(0, from);
    const end = Math.min(to, this.length);
    while (at < end) {
      let k = 0;
      while (k + 1 < this.levels.length && at % this.levels[k + 1].size === 0
        && at + this.levels[k + 1].size <= end) k += 1;
      const level = this.levels[k];
      const place = at / level.size;
      if (level.low[place] < least) least = level.low[place];
      if (level.high[place] > most) most = level.high[place];
      at += level.size;
    }
    return [least, most];
  }
}
