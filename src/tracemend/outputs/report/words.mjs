// How times, numbers and threads are told, and how elements are made. Text is only ever set as text.

export const PHASES = ["enter", "exit", "instant"];
export const STATUSES = ["filled", "refused", "left open"];
export const KNOWN = ["counted", "uncounted", "suspected"];
const UNITS = [
  ["s", 1e9],
  ["ms", 1e6],
  ["µs", 1e3],
  ["ns", 1],
];

export class Clock {
  constructor({ begin, index, digits }) {
    this.begin = BigInt(begin);
    this.index = index;
    this.digits = digits;
  }

  // A moment of the trace's own clock, in seconds; or a position.
  at(time) {
    const whole = this.begin + BigInt(Math.round(time));
    if (this.index) return String(whole);
    const sign = whole < 0n ? "-" : "";
    const text = String(whole < 0n ? -whole : whole).padStart(10, "0");
    return `${sign}${text.slice(0, -9)}.${text.slice(-9).slice(0, this.digits)}`;
  }

  // A duration with three digits and the unit that suits it.
  span(time) {
    if (this.index) return number(Math.round(time));
    const size = Math.abs(time);
    const [unit, of] = UNITS.find(([, of]) => size >= of) ?? UNITS[3];
    return `${size < 1000 * of ? Number((time / of).toPrecision(3)) : number(Math.round(time / of))} ${unit}`;
  }

  // Moments since the begin that stand on a scale of such steps.
  mark(time, step, furthest) {
    if (this.index) return String(this.begin + BigInt(Math.round(time)));
    const [unit, of] = UNITS.find(([, of]) => furthest >= of) ?? UNITS[3];
    const digits = Math.max(0, Math.ceil(-Math.log10(step / of) - 1e-9));
    return `${(time / of).toFixed(Math.min(digits, 12))} ${unit}`;
  }
}

export function number(n) {
  return n.toLocaleString("en-US");
}

export function plural(n, word) {
  return `${number(n)} ${word}${n === 1 ? "" : "s"}`;
}

export function share(parts) {
  return parts < 0 ? "–" : (parts / 10000).toFixed(2);
}

// An element with attributes and children; what begins with "on" is a listener.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export function threadOf(model, thread) {
  const tid = model.tids[thread];
  return [model.strings.threads[thread] || (tid < 0 ? "unknown thread" : "<...>"), tid < 0 ? "" : String(tid)];
}

// An event's name with an arrow into its call or out of it.
export function titleOf(model, name, phase) {
  return `${["→ ", "← ", ""][phase]}${model.strings.names[name]}`;
}
