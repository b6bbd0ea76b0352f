// The lesson's arithmetic: how far a broken counter counts, and where float32 ends.
import { Network } from "./machine.js";

const FARTHEST = 400;
const [LETTER_A, LETTER_B] = [0, 1];

/**
 * Count a's and b's with a broken network, and say where it is wrong first.
 * @param {import("./machine.js").Machine} machine of aⁿbⁿ
 * @param {{leak: number, up: number}} broken
 * @param {number} unit the cell that counts
 * @returns {{first: number|null, why: string, left: number[], right: boolean[]}} `left`: what is in the cell after aⁿbⁿ,
 *   for n = 1, 2, ...; `right`: whether aⁿbⁿ is accepted, and both with one b more and one fewer are not
 */
export function countUntilWrong(machine, broken, unit, most = FARTHEST) {
  const network = new Network(machine.about.network, broken);
  const { accept } = machine.about;
  const found = { first: null, why: "", left: [], right: [] };
  let climbed = network.start();
  for (let n = 1; n <= most; n += 1) {
    climbed = network.step(climbed, LETTER_A);
    let now = climbed;
    const accepted = [];
    for (let b = 1; b <= n + 1; b += 1) {
      now = network.step(now, LETTER_B);
      if (b >= n - 1) accepted.push(network.says(now)[accept]);
      if (b === n) found.left.push(now.c[unit]);
    }
    const [over, exact, under] = accepted.reverse(); // with n = 1 there is no string of fewer b
    found.right.push(exact && !over && !under);
    if (found.first === null && !found.right[n - 1]) {
      found.first = n;
      found.why = !exact ? `it refuses ${n} a and ${n} b` : over ? `it accepts ${n} a and ${n + 1} b` : `it accepts ${n} a and ${n - 1} b`;
    }
  }
  return found;
}

/** Count in float32 from 0 by ones until it stands still; gives where. */
export function countToTheEnd() {
  let x = 0;
  while (Math.fround(x + 1) !== x) x = Math.fround(x + 1);
  return x;
}

/** A whole number in binary digits, the highest first. */
export function binaryDigits(value) {
  return [...value.toString(2)].map(Number);
}
