// Squashing functions by name, as the library defines them: for gates, for what is written, and for what is shown.

const clipped = (x, low, high) => Math.min(Math.max(x, low), high);
const soft = (x) => (Number.isFinite(x) ? x / (1 + Math.abs(x)) : Math.sign(x));

/** The sigmoid, without overflow on either side. */
export function sigmoid(x) {
  const small = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + small) : small / (1 + small);
}

/** What may stand before a gate. */
export const GATE_FUNCTIONS = {
  sigmoid: { text: "sigmoid", of: sigmoid },
  hard_sigmoid: { text: "hard sigmoid", of: (x) => clipped(0.2 * x + 0.5, 0, 1) },
  relu: { text: "relu", of: (x) => Math.max(x, 0) },
  softsign_gate: { text: "softsign, (1 + it) / 2", of: (x) => 0.5 + 0.5 * soft(x) },
  sine: { text: "sine", of: Math.sin },
};

/** What may stand before a candidate, and behind a cell. */
export const CELL_FUNCTIONS = {
  tanh: { text: "tanh", of: Math.tanh },
  hard_tanh: { text: "hard tanh", of: (x) => clipped(x, -1, 1) },
  relu: { text: "relu", of: (x) => Math.max(x, 0) },
  softsign: { text: "softsign", of: soft },
  sine: { text: "sine", of: Math.sin },
};
