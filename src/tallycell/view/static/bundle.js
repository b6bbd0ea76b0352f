// What the page draws: a header, and arrays that are unpacked when they are asked for.

const KEPT_UNITS = 6;
const ARRAY_TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

/** The arrays that stand in this page. */
export class EmbeddedSource {
  constructor() {
    this.served = false;
    this.parsed = document.readyState === "loading"
      ? new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }))
      : Promise.resolve();
  }

  async header() {
    return JSON.parse(document.getElementById("header").textContent);
  }

  async array(name, about) {
    const bytes = await this.unpack(name, new ARRAY_TYPES[about.dtype](0).BYTES_PER_ELEMENT);
    return new ARRAY_TYPES[about.dtype](bytes.buffer);
  }

  async unit(label, about) {
    const bytes = await this.unpack(`unit/${label}`, 4);
    return lifeOfBytes(bytes.buffer, about, true);
  }

  async unpack(name, size) {
    let place = document.getElementById(`array:${name}`);
    if (!place) {
      await this.parsed; // the page is still being read
      place = document.getElementById(`array:${name}`);
    }
    if (!place) throw new Error(`${name} is not in this page`);
    return inOrder(await inflated(fromBase64(place.textContent)), size);
  }
}

/** The arrays that a server on this machine gives. */
export class ServedSource {
  constructor() {
    this.served = true;
    this.token = new URLSearchParams(location.search).get("token") ?? "";
  }

  async ask(path, body) {
    const how = { headers: { "X-Tallycell-Token": this.token }, cache: "no-store" };
    if (body !== undefined) {
      how.method = "POST";
      how.headers["Content-Type"] = "application/json";
      how.body = JSON.stringify(body);
    }
    const answer = await fetch(path, how);
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Error(said.error ?? `the server answered ${answer.status}`);
    }
    return answer;
  }

  async header() {
    return (await this.ask("header")).json();
  }

  async array(name, about) {
    return new ARRAY_TYPES[about.dtype](await (await this.ask(`array/${name}`)).arrayBuffer());
  }

  async unit(label, about) {
    return lifeOfBytes(await (await this.ask(`unit/${label}`)).arrayBuffer(), about, false);
  }
}

/** A header with its arrays; the units that were shown last stay unpacked. */
export class Bundle {
  constructor(header, source) {
    this.header = header;
    this.source = source;
    this.start = header.sequences.reduce((found, one) => [...found, found[found.length - 1] + one.length], [0]);
    this.steps = this.start[this.start.length - 1];
    this.kept = new Set(header.kept);
    this.number = new Map(header.units.map((unit, k) => [unit.label, k]));
    this.arrays = new Map();
    this.lives = new Map();
  }

  /** Whether every step of a unit is at hand. */
  has(label) {
    return this.kept.has(label);
  }

  unitNamed(label) {
    return this.header.units[this.number.get(label)];
  }

  /** Give an array; null where the bundle has none of that name. */
  array(name) {
    const about = this.header.arrays.find((one) => one.name === name);
    if (!about) return Promise.resolve(null);
    if (!this.arrays.has(name)) this.arrays.set(name, this.source.array(name, about));
    return this.arrays.get(name);
  }

  /** Give the arrays of a unit. */
  unit(label) {
    const found = this.lives.get(label) ?? this.source.unit(label, {
      names: this.header.lives, steps: this.steps, start: this.start,
      reverse: this.unitNamed(label).direction === "reverse",
    });
    this.lives.delete(label);
    this.lives.set(label, found); // the last of a Map is the one used last
    for (const old of this.lives.keys()) {
      if (this.lives.size <= KEPT_UNITS) break;
      this.lives.delete(old);
    }
    return found;
  }

  /** Which sequence a step is in. */
  sequenceOf(step) {
    let k = 0;
    while (k + 2 < this.start.length && this.start[k + 1] <= step) k += 1;
    return k;
  }
}

/** Bytes of a text in base64. */
export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const plain = atob(text);
  const bytes = new Uint8Array(plain.length);
  for (let k = 0; k < plain.length; k += 1) bytes[k] = plain.charCodeAt(k);
  return bytes;
}

async function inflated(bytes) {
  const { readable, writable } = new DecompressionStream("deflate"); // not from a Blob: that takes twice as long
  const writer = writable.getWriter();
  const [found] = await Promise.all([new Response(readable).arrayBuffer(), writer.write(bytes), writer.close()]);
  return new Uint8Array(found);
}

/** Undo the order of bytes by their place in a number. */
function inOrder(planes, size) {
  if (size === 1) return planes;
  const count = planes.length / size;
  const bytes = new Uint8Array(planes.length);
  for (let place = 0; place < size; place += 1) {
    for (let k = 0, from = place * count, to = place; k < count; k += 1, to += size) bytes[to] = planes[from + k];
  }
  return bytes;
}

/** Arrays of a unit from one behind the other. */
export function lifeOfBytes(buffer, about, isPacked) {
  const { names, steps, start, reverse } = about;
  const arrays = {};
  names.forEach((name, k) => { arrays[name] = new Float32Array(buffer, 4 * k * steps, steps); });
  arrays.c_0 = new Float32Array(buffer, 4 * names.length * steps, start.length - 1);
  if (isPacked) restoreCells(arrays, new Uint32Array(buffer, 4 * names.indexOf("c") * steps, steps), start, reverse);
  return arrays;
}

/** Cells from the last bits in which they differ from what was kept and written, in the order of reading. */
function restoreCells(arrays, bits, start, reverse) {
  const { i, f, g, c_0: first } = arrays;
  const number = new Float32Array(1);
  const asBits = new Uint32Array(number.buffer);
  for (let s = 0; s + 1 < start.length; s += 1) {
    let before = first[s];
    const by = reverse ? -1 : 1;
    for (let n = start[s + 1] - start[s], t = reverse ? start[s + 1] - 1 : start[s]; n > 0; n -= 1, t += by) {
      const expected = Math.fround(f[t] * before) + Math.fround(i[t] * g[t]);
      number[0] = Number.isNaN(expected) ? 0 : expected;
      asBits[0] += bits[t];
      bits[t] = asBits[0];
      before = number[0];
    }
  }
}
