// A counter machine and the LSTM that does the same, run step by step.
import { sigmoid } from "./squashing.js";

const FAILED = -1;
const MOST_SYMBOLS = 400;

/** A counter machine from its tables. */
export class Machine {
  /** @param {Object<string, any>} about as `machine_header` in Python gives it */
  constructor(about) {
    Object.assign(this, { about, radices: about.constants.map((ks) => 2 * ks.length + 1) });
  }

  start() {
    return { state: 0, counters: this.about.counters.map(() => 0), failed: false };
  }

  /** Where all counters stand among their constants, as one number. */
  viewOf(counters) {
    return counters.reduce((view, value, j) => view * this.radices[j] + placeAmong(value, this.about.constants[j]), 0);
  }

  advance(now, symbol) {
    if (now.failed) return now;
    const view = this.viewOf(now.counters);
    const state = this.about.next[now.state][symbol][view];
    if (state === FAILED) return { ...now, failed: true, from: now.state };
    const { reset, step } = this.about;
    const counters = now.counters.map((value, j) => (reset[now.state][symbol][view][j] ? 0 : value) + step[now.state][symbol][view][j]);
    return { state, counters, failed: false, from: now.state };
  }

  /** Whether it says each of its outputs. */
  says({ state, counters, failed }) {
    const { outputs, output, decision } = this.about;
    if (failed) return outputs.map((_, k) => decision === "argmax" && k === 0);
    return output[state][this.viewOf(counters)].map(Boolean);
  }

  /** Where it is before the first symbol and after each. */
  walk(codes) {
    const found = [this.start()];
    for (const symbol of codes) found.push(this.advance(found[found.length - 1], symbol));
    return found;
  }

  accepts(codes) {
    return this.says(this.walk(codes).pop())[this.about.accept] ?? false;
  }
}

function placeAmong(value, constants) {
  let place = 0;
  for (const one of constants) {
    if (value === one) return place + 1;
    if (value > one) place += 2;
  }
  return place;
}

/** An LSTM of one layer, in double precision, or as exact as `round` leaves every number. */
export class Network {
  /**
   * @param {Object<string, any>} about as `network_header` in Python gives it
   * @param {{leak?: number, up?: number, round?: (x: number) => number}} [broken] leak: the share of a cell that is
   *   lost at each step; up: by how much what is written upwards is multiplied
   */
  constructor(about, { leak = 0, up = 1, round = (x) => x } = {}) {
    Object.assign(this, { about, leak, up, round, outputs: about.bias.map((_, k) => k) });
  }

  start() {
    const { h_0: h, c_0: c, units } = this.about;
    return { h: h ?? new Array(units).fill(0), c: c ?? new Array(units).fill(0) };
  }

  /** One step of the LSTM; gives the gates of each unit too. */
  step({ h, c }, symbol) {
    const { units, driven, recurrent } = this.about;
    const { round } = this;
    const now = { i: [], f: [], g: [], o: [], c: [], h: [] };
    const pre = (row) => recurrent[row].reduce((sum, weight, k) => sum + weight * h[k], driven[symbol][row]);
    for (let u = 0; u < units; u += 1) {
      const i = round(sigmoid(round(pre(u))));
      const f = round(round(sigmoid(round(pre(units + u)))) * (1 - this.leak));
      const g = round(Math.tanh(round(pre(2 * units + u))));
      const o = round(sigmoid(round(pre(3 * units + u))));
      const written = g > 0 ? g * this.up : g;
      now.c.push(round(round(f * c[u]) + round(i * written)));
      now.h.push(round(o * Math.tanh(now.c[u])));
      now.i.push(i);
      now.f.push(f);
      now.g.push(written);
      now.o.push(o);
    }
    return now;
  }

  /** Whether it says each of its outputs. */
  says({ h }) {
    const { readout, bias, decision } = this.about;
    const logits = readout.map((weights, k) => weights.reduce((sum, weight, u) => sum + weight * h[u], bias[k]));
    const most = Math.max(...logits);
    return decision === "argmax" ? logits.map((_, k) => k === logits.indexOf(most)) : logits.map((logit) => logit > 0);
  }

  walk(codes) {
    const found = [this.start()];
    for (const symbol of codes) found.push(this.step(found[found.length - 1], symbol));
    return found;
  }
}

/**
 * Read a text as symbols, the longest first; blanks between them are skipped unless they are symbols.
 * @returns {{codes: number[], stranger: string|null, cut: boolean}} stranger: where reading stopped, what stood there
 */
export function readSymbols(text, symbols) {
  const order = symbols.map((_, k) => k).sort((a, b) => symbols[b].length - symbols[a].length);
  const codes = [];
  let at = 0;
  while (at < text.length && codes.length < MOST_SYMBOLS) {
    const found = order.find((k) => text.startsWith(symbols[k], at));
    if (found !== undefined) {
      codes.push(found);
      at += symbols[found].length;
    } else if (/\s/.test(text[at])) at += 1;
    else return { codes, stranger: String.fromCodePoint(text.codePointAt(at)), cut: false };
  }
  return { codes, stranger: null, cut: at < text.length };
}

/** Write symbols as a text that is read as the same again. */
export function writeSymbols(codes, symbols) {
  return codes.map((k) => symbols[k]).join(symbols.some((one) => one.length > 1) ? " " : "");
}

/** Strings that differ from one in a symbol: one more or fewer at either end, two exchanged where symbols change. */
export function nearMisses(codes) {
  const n = codes.length;
  if (!n) return [];
  const edge = codes.findIndex((one, k) => k > 0 && one !== codes[k - 1]);
  const all = [codes.slice(0, -1), [...codes, codes[n - 1]], codes.slice(1), [codes[0], ...codes]];
  if (edge > 0) all.push([...codes.slice(0, edge - 1), codes[edge], codes[edge - 1], ...codes.slice(edge + 1)]);
  const seen = new Set([codes.join(), ""]);
  return all.filter((one) => !seen.has(one.join()) && seen.add(one.join()));
}

/** Strings that a machine accepts, one of each length: of many symbols, and with counters that rise; none without accept. */
export function acceptedStrings(machine, longest = 12, most = 6) {
  const { accept, symbols } = machine.about;
  if (accept === null) return [];
  let level = [{ codes: [], now: machine.start(), peak: 0 }];
  const found = [];
  for (let length = 1; length <= longest && level.length && found.length < most; length += 1) {
    const next = new Map();
    for (const { codes, now, peak } of level) {
      symbols.forEach((_, symbol) => {
        const after = machine.advance(now, symbol);
        const one = { codes: [...codes, symbol], now: after, peak: Math.max(peak, ...after.counters.map(Math.abs)) };
        const key = `${after.state} ${after.counters} ${one.peak} ${[...new Set(one.codes)].sort()}`;
        if (!after.failed && !next.has(key) && next.size < 2000) next.set(key, one);
      });
    }
    level = [...next.values()];
    const rich = ({ codes, peak }) => 10 * new Set(codes).size + peak;
    const good = level.filter(({ now }) => machine.says(now)[accept]).sort((one, other) => rich(other) - rich(one));
    if (good.length) found.push(good[0].codes);
  }
  return found;
}

/** Strings on which a machine does not fail, drawn the same way each time. */
export function drawnStrings(machine, count = 24, length = 16) {
  let seed = 1;
  const draw = (below) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  return Array.from({ length: count }, () => {
    const codes = [];
    let now = machine.start();
    for (let t = 0; t < length; t += 1) {
      const open = machine.about.symbols.map((_, k) => k).filter((k) => !machine.advance(now, k).failed);
      if (!open.length) break;
      codes.push(open[draw(open.length)]);
      now = machine.advance(now, codes[t]);
    }
    return codes;
  });
}

/** Which cell holds each counter: the one that is nearest to it after every symbol; -1 where none is. */
export function cellsOfCounters(machine, network) {
  const strings = [...acceptedStrings(machine), ...drawnStrings(machine)];
  const runs = strings.map((codes) => [machine.walk(codes), network.walk(codes)]);
  return machine.about.counters.map((_, j) => {
    let [best, least] = [-1, 0.25];
    for (let u = 0; u < network.about.units; u += 1) {
      let [far, moves] = [0, 0];
      for (const [ours, theirs] of runs) {
        ours.forEach((now, t) => {
          if (now.failed) return;
          far = Math.max(far, Math.abs(theirs[t].c[u] - now.counters[j]));
          moves = Math.max(moves, Math.abs(now.counters[j]));
        });
      }
      if (moves > 0 && far < least) [best, least] = [u, far];
    }
    return best;
  });
}

/** The run of one unit, as its picture takes it. */
export function runOfUnit(about, codes, walked, unit, counted) {
  const of = (name) => walked.slice(1).map((now) => now[name][unit]);
  return { heading: "reads", labels: codes.map((k) => about.shown[k]), f: of("f"), i: of("i"), g: of("g"), o: of("o"), c: of("c"), shown: of("h"), tally: counted };
}
