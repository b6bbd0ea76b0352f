// One cell over its steps: what is written and shown, its events, its tally; the page's own arithmetic.

export const FORGETS = ["reset", "keep", "leak"];
export const WRITES = ["increment", "decrement", "hold", "partial"];
export const EXPOSES = ["positive", "negative", "hidden", "partial"];

const NOTHING = 0.1; // what is written, or shown, and is less

/** Limits of an activation; NaN, near which nothing is, where it has none. */
function limitsOf({ left, right, near }) {
  return { left: left ?? NaN, right: right ?? NaN, near };
}

/** What one unit does at every step. What is not asked for is not computed. */
export class Life {
  /**
   * @param {import("./bundle.js").Bundle} bundle
   * @param {string} label
   * @param {Object<string, Float32Array>} arrays
   */
  constructor(bundle, label, arrays) {
    this.label = label;
    this.about = bundle.unitNamed(label);
    this.number = bundle.number.get(label);
    this.start = bundle.start;
    this.sequenceOf = (t) => bundle.sequenceOf(t);
    this.steps = bundle.steps;
    this.reverse = this.about.direction === "reverse";
    this.slots = bundle.header.activations[this.about.direction];
    this.clip = bundle.header.clip_cell;
    this.alwaysKeeps = bundle.header.forget_gate === "none";
    Object.assign(this, arrays);
    this.made = {};
  }

  once(name, make) {
    this.made[name] ??= make();
    return this.made[name];
  }

  /** i g of each step. */
  get write() {
    return this.once("write", () => {
      const { i, g, steps } = this;
      const made = new Float64Array(steps);
      for (let t = 0; t < steps; t += 1) made[t] = i[t] * g[t];
      return made;
    });
  }

  /** Share of the cell that each step forgets. */
  get forgets() {
    return this.once("forgets", () => {
      const { f, steps } = this;
      const made = new Float64Array(steps);
      for (let t = 0; t < steps; t += 1) made[t] = 1 - f[t];
      return made;
    });
  }

  /** What is made of a cell on its way out. */
  hidden(t) {
    if (this.y) return this.y[t];
    return this.slots.hidden.name === "identity" ? this.c[t] : Math.tanh(this.c[t]);
  }

  /** o hidden(c) of each step; null without an output gate. */
  get shown() {
    if (!this.o) return null;
    return this.once("shown", () => {
      const { o, c, y, steps } = this;
      const isTanh = !y && this.slots.hidden.name !== "identity";
      const of = y ?? c;
      const made = new Float64Array(steps);
      for (let t = 0; t < steps; t += 1) made[t] = o[t] * (isTanh ? Math.tanh(of[t]) : of[t]);
      return made;
    });
  }

  /** The first step that is read of the sequence of a step, and by how much steps go on. */
  beginning(t) {
    const s = this.sequenceOf(t);
    return { sequence: s, first: this.reverse ? this.start[s + 1] - 1 : this.start[s], by: this.reverse ? -1 : 1 };
  }

  /** The cell before a step. */
  before(t) {
    const { sequence, first, by } = this.beginning(t);
    return t === first ? this.c_0[sequence] : this.c[t - by];
  }

  /** Codes of what each step forgets, writes and exposes. */
  get events() {
    return this.once("events", () => ({ forget: this.codesOfForgetting(), write: this.codesOfWriting(),
      expose: this.o ? this.codesOfShowing() : null }));
  }

  codesOfForgetting() {
    const { f, steps, alwaysKeeps } = this;
    const { left, right, near } = limitsOf(this.slots.gate);
    const codes = new Uint8Array(steps);
    for (let t = 0; t < steps; t += 1) {
      codes[t] = Math.abs(f[t] - left) < near ? 0 : alwaysKeeps || Math.abs(f[t] - right) < near ? 1 : 2;
    }
    return codes;
  }

  codesOfWriting() {
    const { i, g, write, steps } = this;
    const gate = limitsOf(this.slots.gate);
    const cell = limitsOf(this.slots.cell);
    const codes = new Uint8Array(steps);
    for (let t = 0; t < steps; t += 1) {
      if (Math.abs(i[t] - gate.right) < gate.near) {
        if (Math.abs(g[t] - cell.right) < cell.near) continue; // 0, a step up
        if (Math.abs(g[t] - cell.left) < cell.near) { codes[t] = 1; continue; }
      }
      codes[t] = Math.abs(i[t] - gate.left) < gate.near || Math.abs(write[t]) < NOTHING ? 2 : 3;
    }
    return codes;
  }

  codesOfShowing() {
    const { o, shown, steps } = this;
    const gate = limitsOf(this.slots.gate);
    const hidden = limitsOf(this.slots.hidden);
    const codes = new Uint8Array(steps);
    for (let t = 0; t < steps; t += 1) {
      if (Math.abs(o[t] - gate.right) < gate.near) {
        const y = this.hidden(t);
        if (Math.abs(y - hidden.right) < hidden.near) continue; // 0, a sign above 0
        if (Math.abs(y - hidden.left) < hidden.near) { codes[t] = 1; continue; }
      }
      codes[t] = Math.abs(o[t] - gate.left) < gate.near || Math.abs(shown[t]) < NOTHING ? 2 : 3;
    }
    return codes;
  }

  /** What the quoted tally makes of the cell; null for a unit that has none. */
  get tally() {
    const levels = this.about.tally;
    if (!levels) return null;
    return this.once("tally", () => runTally(this, levels));
  }
}

/**
 * Run a tally freely: it sees the gates rounded to a few levels, and never the cell.
 * @param {Life} life
 * @param {{binary: boolean, writes: number[], keeps: number[], intercept: number}} levels
 */
export function runTally(life, levels) {
  const made = new Float64Array(life.steps);
  const { writes, keeps, intercept, binary } = levels;
  const writeEdges = binary ? [-0.5, 0.5] : halfWay(writes);
  const keepEdges = binary ? [0.5] : halfWay(keeps);
  const middle = life.slots.gate.middle;
  for (let s = 0; s + 1 < life.start.length; s += 1) {
    let tally = life.c_0[s];
    const by = life.reverse ? -1 : 1;
    let t = life.reverse ? life.start[s + 1] - 1 : life.start[s];
    for (let n = life.start[s + 1] - life.start[s]; n > 0; n -= 1, t += by) {
      const written = binary ? (life.i[t] > middle ? Math.sign(life.g[t]) : 0) : life.i[t] * life.g[t];
      const kept = binary ? Number(life.f[t] > middle) : life.f[t];
      tally = levelOf(kept, keeps, keepEdges) * tally + levelOf(written, writes, writeEdges);
      made[t] = tally + intercept;
    }
  }
  return made;
}

function halfWay(levels) {
  return levels.slice(1).map((level, k) => (level + levels[k]) / 2);
}

function levelOf(value, levels, edges) {
  let k = 0;
  while (k < edges.length && value > edges[k]) k += 1;
  return levels[k];
}
