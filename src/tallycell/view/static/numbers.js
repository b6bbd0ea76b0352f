// Numbers, shares, steps and dates in words.

/** A number in three digits: 2.04, 0.0123, 12,300. */
export function digits(value, most = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return minus(Math.round(value).toLocaleString("en"));
  if (size < 1e-4) return minus(value.toExponential(1));
  return minus(String(Number(value.toPrecision(most))));
}

/** The same with its sign. */
export function signed(value, most = 3) {
  const said = digits(value, most);
  return value > 0 ? `+${said}` : said;
}

/** A whole number with commas. */
export function whole(value) {
  return Math.round(value).toLocaleString("en");
}

/** A share as percent. */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const size = Math.abs(share);
  if (size > 0 && size < 0.005) return "under 1 %";
  return `${minus(String(Math.round(share * 100)))} %`;
}

/** "1 step", "2 steps". */
export function counted(count, noun) {
  return `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A number with a minus that is as wide as a plus. */
function minus(text) {
  return text.replace("-", "−");
}

/** A date in UTC, as short as it is exact. */
export function dateText(ms, withTime = false) {
  const text = new Date(ms).toISOString();
  const day = text.slice(0, 10);
  const time = text.slice(11, 16);
  return withTime || time !== "00:00" ? `${day} ${time}` : day;
}

/** Round ticks between two numbers, about so many. */
export function niceTicks(low, high, about = 4) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / Math.max(about, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= about + 0.5) ?? 10 * power;
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) {
    found.push(Number(tick.toPrecision(12)));
  }
  return found;
}

const MONTH_NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DATE_STEPS = [
  ["minute", 1], ["minute", 5], ["minute", 15], ["hour", 1], ["hour", 6], ["day", 1], ["day", 7],
  ["month", 1], ["month", 3], ["month", 6], ["year", 1], ["year", 5], ["year", 10], ["year", 50],
];
const MILLISECONDS = { minute: 6e4, hour: 36e5, day: 864e5, month: 2.63e9, year: 3.156e10 };

/** Ticks of an axis of dates: {at, text}. */
export function dateTicks(low, high, about = 6) {
  const [unit, by] = DATE_STEPS.find(([name, count]) => (high - low) / (MILLISECONDS[name] * count) <= about)
    ?? DATE_STEPS[DATE_STEPS.length - 1];
  const found = [];
  const first = new Date(low);
  if (unit === "year" || unit === "month") {
    const months = unit === "year" ? by * 12 : by;
    let month = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
    for (; ; month += months) {
      const at = Date.UTC(Math.floor(month / 12), month % 12, 1);
      if (at > high) break;
      const name = MONTH_NAMES[month % 12];
      if (at >= low) found.push({ at, text: month % 12 === 0 ? String(Math.floor(month / 12)) : name });
    }
    return found;
  }
  const step = MILLISECONDS[unit] * by;
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    const date = new Date(at);
    const day = `${date.getUTCDate()} ${MONTH_NAMES[date.getUTCMonth()]}`;
    found.push({ at, text: unit === "day" || at % 864e5 === 0 ? day : dateText(at, true).slice(11) });
  }
  return found;
}
