// A canvas to draw on: as sharp as the screen, drawn again when its size or the colours change, saved as a picture.
import { el, button, announce } from "./dom.js";
import { colours, onTheme } from "./theme.js";

/** A canvas and how it is drawn. */
export class Sheet {
  /**
   * @param {string} name its accessible name
   * @param {number} height in CSS pixels
   * @param {(sheet: Sheet) => void} draw called with a clean canvas, in CSS pixels
   * @param {Object<string, any>} [about] further attributes of the canvas
   */
  constructor(name, height, draw, about = {}) {
    this.canvas = el("canvas", { role: "img", "aria-label": name, ...about });
    this.height = height;
    this.width = 0;
    this.draw = draw;
    this.asked = false;
    this.canvas.style.height = `${height}px`;
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
    onTheme(() => this.redraw());
  }

  /** Change the height. */
  resize(height) {
    if (height === this.height) return;
    this.height = height;
    this.canvas.style.height = `${height}px`;
    this.redraw();
  }

  /** Draw again, once, before the next frame. */
  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.asked = false;
    const width = this.canvas.clientWidth;
    if (!width) return; // not shown
    const sharp = Math.min(devicePixelRatio || 1, 3);
    this.width = width;
    const [across, down] = [Math.round(width * sharp), Math.round(this.height * sharp)];
    if (this.canvas.width !== across || this.canvas.height !== down) {
      this.canvas.width = across;
      this.canvas.height = down;
    }
    this.pen = this.canvas.getContext("2d");
    this.pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.pen.clearRect(0, 0, width, this.height);
    this.pen.textBaseline = "middle";
    this.draw(this);
  }

  /** Write a text; of one that is too long the beginning. */
  write(text, x, y, { size = 12, colour = colours().ink, align = "left", weight = 400, most = 0, fixed = false } = {}) {
    const { pen } = this;
    pen.font = `${weight} ${size}px ${fixed ? colours().fixed : colours().font}`;
    pen.fillStyle = colour;
    pen.textAlign = align;
    pen.fillText(most ? fitting(pen, text, most) : text, x, y);
  }

  /** A line from one place to another. */
  line(x1, y1, x2, y2, colour, width = 1, dash = []) {
    const { pen } = this;
    pen.beginPath();
    pen.setLineDash(dash);
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** A filled rectangle; a negative height goes up. */
  bar(x, y, width, height, colour) {
    this.pen.fillStyle = colour;
    this.pen.fillRect(x, y, width, height);
  }
}

/** As much of a text as fits. */
export function fitting(pen, text, most) {
  if (pen.measureText(text).width <= most) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= most) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

/** Break a text into lines that fit. */
export function folded(pen, text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] ? `${lines[lines.length - 1]} ${word}` : word;
    if (pen.measureText(longer).width <= most) lines[lines.length - 1] = longer;
    else lines.push(fitting(pen, word, most));
  }
  return lines.filter(Boolean);
}

/**
 * Save canvases as one picture, with a sentence above them.
 * @param {string} title
 * @param {HTMLCanvasElement[]} canvases
 * @param {string} file its name
 */
export function savePicture(title, canvases, file) {
  const there = canvases.filter((one) => one.width && one.height);
  const sharp = there.length ? there[0].width / there[0].clientWidth : 2;
  const width = Math.max(600, ...there.map((one) => one.width / sharp));
  const picture = document.createElement("canvas");
  const pen = picture.getContext("2d");
  const font = `600 15px ${colours().font}`;
  pen.font = font;
  const lines = folded(pen, title, width - 32);
  const top = 20 + 21 * lines.length;
  picture.width = Math.round((width + 32) * sharp);
  picture.height = Math.round((top + 16 + there.reduce((sum, one) => sum + one.height / sharp + 8, 0)) * sharp);
  pen.scale(sharp, sharp);
  pen.fillStyle = colours().paper;
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.font = font;
  pen.fillStyle = colours().ink;
  lines.forEach((line, k) => pen.fillText(line, 16, 28 + 21 * k));
  let y = top;
  for (const one of there) {
    pen.drawImage(one, 16, y, one.width / sharp, one.height / sharp);
    y += one.height / sharp + 8;
  }
  picture.toBlob((blob) => saveFile(blob, file));
  announce(`The picture is saved as ${file}`);
}

/** Have the browser keep a file. */
export function saveFile(blob, file) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: file });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** The button that saves a view as a picture. */
export function saveButton(what, make) {
  return button("Save picture", () => {
    const { title, canvases, file } = make();
    savePicture(title, canvases, file);
  }, { class: "quiet", "aria-label": `Save picture of ${what}` });
}

/** The button that saves rows as a table. */
export function saveTableButton(what, file, make) {
  const quoted = (cell) => `"${String(cell ?? "").replaceAll('"', '""')}"`;
  return button("Save table", () => {
    const text = make().map((row) => row.map(quoted).join(",")).join("\n");
    saveFile(new Blob([`${text}\n`], { type: "text/csv" }), file);
    announce(`The table is saved as ${file}`);
  }, { class: "quiet", "aria-label": `Save table of ${what}` });
}
