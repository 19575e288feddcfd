// How lanes are painted: what was lost as stretches of true width, what was recorded as full marks in one colour, what
// was inferred as hollow, dashed ones in another, fainter the less sure. Where marks would lie one over the other,
// columns tell how many there are.
import { bisect } from "./data.mjs";
import { titleOf } from "./words.mjs";

const RIBBON = 7; // height of what tells losses, above a lane's events
const BIN = 3; // width of a column
const CROWDED = 4; // pixels an event, on average, below which columns are drawn

export class Painter {
  constructor(model) {
    this.model = model;
    this.widths = new Map();
  }

  // Colours out of the page's style.
  take(style, scale) {
    this.ink = {};
    for (const name of ["ink", "dim", "rule", "soft", "card", "recorded", "inferred", "open"])
      this.ink[name] = style.getPropertyValue(`--${name}`).trim();
    this.mono = "11px ui-monospace, 'SF Mono', Menlo, Consolas, monospace";
    this.hatch = hatched(this.ink.open, scale, 6, 1.4);
    this.dots = hatched(this.ink.inferred, scale, 4, 1.6);
  }

  // Where to draw, and which times: `begin` at the left edge, `end` at the right one.
  on(context, width, begin, end) {
    Object.assign(this, { context, width, begin, end, unit: width / (end - begin), lost: new Map() });
  }

  x(time) {
    return (time - this.begin) * this.unit;
  }

  // Where a cpu's gaps lie in what is seen: those that have a width, and of each pixel how much of it others took (filled
  // ones, open ones) and how sure the filled ones are.
  _lost(held) {
    if (this.lost.has(held)) return this.lost.get(held);
    const { width } = this;
    const { begin, end, status, sure } = this.model.gap;
    const found = { wide: [], filled: new Float32Array(width), open: new Float32Array(width), sure: new Float32Array(width) };
    for (let i = bisect(held.ends, this.begin); i < held.all.length; i++) {
      const g = held.all[i];
      const left = this.x(begin[g]);
      if (left >= width) break;
      const part = this.x(end[g]) - left;
      if (part >= 1.5) found.wide.push([g, Math.max(left, -10), Math.min(left + part, width + 10)]);
      else if (left >= 0) {
        const x = left | 0;
        const seen = Math.max(part, 0.02);
        if (status[g]) found.open[x] += seen;
        else {
          found.filled[x] += seen;
          found.sure[x] += (seen * sure[g]) / 10000;
        }
      }
    }
    this.lost.set(held, found);
    return found;
  }

  // The gaps of a cpu's lane; of a thread's only those that have a width, without the ribbon.
  gaps(held, y, height, ribbon) {
    const { context: c, width, ink } = this;
    const { wide, filled, open, sure } = this._lost(held);
    for (const [g, left, right] of wide) this._stretch(g, left, right, y, height, ribbon);
    for (let x = 0; x < width && ribbon; x++) {
      if (filled[x]) this._part(filled[x], ink.inferred, faint(sure[x] / filled[x]), x, y, height);
      if (open[x]) this._part(open[x], ink.open, 0.85, x, y, height);
    }
    c.globalAlpha = 1;
  }

  // A pixel of which a part was lost.
  _part(part, ink, strong, x, y, height) {
    const { context: c } = this;
    const whole = Math.min(1, part);
    c.fillStyle = ink;
    c.globalAlpha = 0.1 + 0.3 * whole;
    c.fillRect(x, y + RIBBON, 1, height - RIBBON);
    c.globalAlpha = strong;
    c.fillRect(x, y, 1, Math.max(2, RIBBON * whole));
  }

  // One gap: its ribbon as sure as its fill is; hatched where it stays open.
  _stretch(g, left, right, y, height, ribbon) {
    const { context: c } = this;
    const { gap } = this.model;
    const open = gap.status[g] > 0;
    c.fillStyle = open ? this.ink.open : this.ink.inferred;
    c.globalAlpha = open ? 0.07 : 0.09;
    c.fillRect(left, y, right - left, height);
    c.globalAlpha = open ? 1 : faint(gap.sure[g] / 10000);
    if (open) {
      c.fillStyle = this.hatch;
      c.fillRect(left, y, right - left, height);
    } else if (ribbon) c.fillRect(left, y, right - left, RIBBON);
    c.globalAlpha = 1;
    if (ribbon && right - left > 5) {
      c.strokeStyle = open ? this.ink.open : this.ink.inferred;
      c.globalAlpha = 0.5;
      c.strokeRect(left + 0.5, y + 0.5, right - left - 1, height - 1);
      c.globalAlpha = 1;
    }
  }

  // A lane's events that are seen: which of a list, and whether there are too many to draw each.
  seen(lane) {
    const range = (list) => [bisect(list, this.begin, this.model.time), bisect(list, this.end, this.model.time)];
    const all = range(lane.all);
    const crowded = all[1] - all[0] > this.width / CROWDED;
    return { all, crowded, recorded: crowded && range(lane.recorded), inferred: crowded && range(lane.inferred) };
  }

  // So many events in each column of a list's range, and (of inferred ones) how sure they are.
  columns(list, [low, high], sums) {
    const n = Math.ceil(this.width / BIN);
    const counts = new Float32Array(n);
    const sure = sums && new Float32Array(n);
    let at = low;
    for (let k = 0; k < n && at < high; k++) {
      const end = this.begin + ((k + 1) * BIN) / this.unit;
      // the next column's first event: near, or found by halving
      const hop = Math.min(high, at + 32);
      const next = hop === high || this.model.time(list[hop - 1]) >= end
        ? bisect(list, end, this.model.time, at, hop)
        : bisect(list, end, this.model.time, hop, high);
      counts[k] = next - at;
      if (sums && next > at) sure[k] = (sums[next] - sums[at]) / (next - at);
      at = next;
    }
    return { counts, sure };
  }

  // Columns of a crowded lane; `most` events are as high as it is.
  bars({ recorded, inferred }, most, y, height) {
    const { context: c } = this;
    const unit = (height - RIBBON - 2) / Math.log1p(most);
    const base = y + height - 1;
    c.fillStyle = this.ink.recorded;
    for (let k = 0; k < recorded.counts.length; k++) {
      const h = Math.log1p(recorded.counts[k]) * unit;
      if (h) c.fillRect(k * BIN, base - h, BIN - 0.5, h);
    }
    for (let k = 0; k < inferred.counts.length; k++) {
      if (!inferred.counts[k]) continue;
      const under = Math.log1p(recorded.counts[k]) * unit;
      const h = Math.max(2, Math.log1p(recorded.counts[k] + inferred.counts[k]) * unit - under);
      c.globalAlpha = faint(inferred.sure[k]);
      c.fillStyle = this.dots;
      c.fillRect(k * BIN, base - under - h, BIN, h);
      c.fillStyle = this.ink.inferred;
      c.fillRect(k * BIN, base - under - h, BIN, 1.5);
      c.globalAlpha = 1;
    }
  }

  // Events one by one, with their names where there is room.
  marks(lane, [low, high], y, height) {
    const { model, context: c } = this;
    const list = lane.all;
    const top = y + RIBBON + 2;
    for (let i = low; i < high; i++) {
      const e = list[i];
      const x = this.x(model.event.time[e]);
      const room = i + 1 < list.length ? this.x(model.event.time[list[i + 1]]) - x - 9 : this.width - x;
      const before = i ? x - this.x(model.event.time[list[i - 1]]) : 9;
      this._mark(e, x, top, y + height - 2, Math.min(before, room + 9) / 2);
      this._name(e, x + 7, (top + y + height) / 2 + 3, room);
    }
    c.globalAlpha = 1;
  }

  _mark(e, x, top, bottom, room = 9) {
    const { context: c, model } = this;
    const phase = model.event.phase[e];
    const flag = [3.5, -3.5, 0][phase]; // into the call, out of it
    if (model.event.gap[e] < 0) {
      c.fillStyle = this.ink.recorded;
      c.fillRect(x - 0.75, top, 1.5, bottom - top);
      if (flag) triangle(c, x, phase ? bottom - 7 : top, flag);
      return;
    }
    const middle = (top + bottom) / 2;
    c.strokeStyle = c.fillStyle = this.ink.inferred;
    c.setLineDash([2, 2]);
    line(c, x, top, x, bottom);
    c.setLineDash([]);
    const size = Math.min(4.5, Math.max(1.5, room));
    c.beginPath();
    c.moveTo(x, middle - size);
    c.lineTo(x + size, middle);
    c.lineTo(x, middle + size);
    c.lineTo(x - size, middle);
    c.closePath();
    c.fillStyle = this.ink.card;
    c.fill();
    c.fillStyle = this.ink.inferred;
    c.globalAlpha = model.event.sure[e] / 10000;
    c.fill();
    c.globalAlpha = 1;
    c.stroke();
  }

  _name(e, x, y, room, call = false) {
    const { context: c, model } = this;
    const name = titleOf(model, model.event.name[e], call ? 2 : model.event.phase[e]);
    if (room < 14 || this.length(name) > room) return;
    const inferred = model.event.gap[e] >= 0;
    c.font = inferred ? `italic ${this.mono}` : this.mono;
    c.fillStyle = this.ink.ink;
    c.globalAlpha = inferred ? 0.55 + 0.45 * (model.event.sure[e] / 10000) : 1;
    c.fillText(name, x, y);
    c.globalAlpha = 1;
  }

  length(text) {
    let width = this.widths.get(text);
    if (width === undefined) {
      this.context.font = this.mono;
      this.widths.set(text, (width = this.context.measureText(text).width));
    }
    return width;
  }

  // A thread's calls from their begin to their end, and whatever else it did.
  calls(lane, [low, high], y, height) {
    const { model } = this;
    const { leaving } = model;
    for (let i = Math.max(0, low - 1); i < high; i++) {
      const e = lane.all[i];
      const x = this.x(model.event.time[e]);
      if (leaving[e] >= 0) this._call(e, leaving[e], x, y + 3, height - 6);
      else if (!model.left(e) && i >= low) this._mark(e, x, y + 2, y + height - 2);
    }
  }

  _call(enter, exit, from, y, height) {
    const { context: c, model } = this;
    const { event } = model;
    const left = Math.max(from, -5);
    const width = Math.max(1.5, Math.min(this.x(event.time[exit]), this.width + 5) - left);
    if (left + width < 0) return;
    const inferred = event.gap[enter] >= 0 || event.gap[exit] >= 0;
    const sure = (e) => (event.gap[e] < 0 ? 1 : event.sure[e] / 10000);
    c.fillStyle = inferred ? this.ink.inferred : this.ink.recorded;
    c.globalAlpha = inferred ? 0.05 + 0.3 * Math.min(sure(enter), sure(exit)) : width < 4 ? 0.9 : 0.28;
    c.fillRect(left, y, width, height);
    c.globalAlpha = 1;
    if (width < 4) return;
    c.strokeStyle = inferred ? this.ink.inferred : this.ink.recorded;
    c.setLineDash(inferred ? [3, 2] : []);
    c.strokeRect(left + 0.5, y + 0.5, width - 1, height - 1);
    c.setLineDash([]);
    this._name(enter, left + 5, y + height / 2 + 4, width - 8, true);
  }
}

// As strong as a confidence; never so faint that it isn't seen.
export function faint(sure) {
  return 0.22 + 0.78 * Math.max(0, Math.min(1, sure));
}

function triangle(c, x, y, width) {
  c.beginPath();
  c.moveTo(x, y);
  c.lineTo(x + width * 1.3, y + 3.5);
  c.lineTo(x, y + 7);
  c.fill();
}

function line(c, x, y, to, bottom) {
  c.beginPath();
  c.moveTo(x, y);
  c.lineTo(to, bottom);
  c.stroke();
}

// A pattern of slanted lines.
function hatched(colour, scale, size, width) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = size * scale;
  const c = tile.getContext("2d");
  c.scale(scale, scale);
  c.strokeStyle = colour;
  c.lineWidth = width;
  for (const shift of [-size, 0, size]) line(c, shift, size, shift + size, 0);
  const pattern = c.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / scale));
  return pattern;
}
