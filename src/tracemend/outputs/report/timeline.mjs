// The timeline: an overview of the whole trace, and below it lanes of cpus that unfold to their threads.
import { bisect } from "./data.mjs";
import { Painter, faint } from "./lanes.mjs";
import { Layout } from "./layout.mjs";
import { PHASES, STATUSES, make, number, plural, share, threadOf, titleOf } from "./words.mjs";

const OVERVIEW = 38, RULER = 20;
const SHORTEST = 20; // nanoseconds that are shown, at least
const NEAR = 6; // pixels from an event at which it is meant

export class Timeline {
  constructor(model, clock, choose) {
    Object.assign(this, { model, clock, choose, chosen: -1, pointed: -1 });
    const by = (id) => document.getElementById(id);
    Object.assign(this, { scroller: by("scroll"), inner: by("inner"), canvas: by("lanes") });
    Object.assign(this, { overview: by("overview"), tip: by("tip"), foot: by("span") });
    this.span = Math.max(1, model.span);
    const pad = this.span * 0.01;
    this.limits = [-pad, this.span + pad];
    this.view = [...this.limits];
    this.target = [...this.limits];
    this.painter = new Painter(model);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.layout = new Layout(model, { changed: (to) => this.changed(to), meet: (lane) => this.meet(lane) });
    this.lay();
    this._listen();
    this.style();
    new ResizeObserver(() => {
      const { clientWidth, clientHeight } = this.scroller;
      if (clientWidth !== this.left + this.width || clientHeight !== this.height) this.size();
    }).observe(this.scroller);
  }

  // Colours of the theme.
  style() {
    this.scale = devicePixelRatio || 1;
    this.painter.take(getComputedStyle(document.documentElement), this.scale);
    this.sketch = null;
    this.size();
  }

  size() {
    const left = this.canvas.offsetLeft;
    const width = Math.max(50, this.scroller.clientWidth - left);
    const height = this.scroller.clientHeight;
    if (width !== this.width) this.sketch = null;
    Object.assign(this, { left, width, height });
    sized(this.canvas, width, height, this.scale);
    sized(this.overview, this.scroller.clientWidth, OVERVIEW + RULER, this.scale);
    this.draw(); // at once: it is empty now
  }

  // Lanes one below the other.
  lay() {
    this.layout.lay(this.chosen, this.target);
    this.lanes = this.layout.lanes;
    this.inner.style.height = `${this.layout.height}px`;
    this.scroller.style.height = `${this.layout.height + 2}px`;
  }

  // Other lanes are to be seen: those of a cpu, or what was looked for.
  changed(cpu) {
    this.lay();
    this.size();
    const { first } = this.layout;
    if (first && (cpu === undefined || first.cpu === cpu)) this.show(first);
    else if (cpu !== undefined) this.show(this.layout.lane(cpu));
  }

  // What is drawn next; soon.
  again() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      this.draw();
    });
  }

  go(begin, end) {
    const [first, last] = this.limits;
    const length = Math.min(Math.max(end - begin, this.model.index ? 5 : SHORTEST), last - first);
    const middle = (begin + end) / 2;
    const from = Math.min(Math.max(middle - length / 2, first), last - length);
    this.target = [from, from + length];
    if (this.calm.matches) this.view = [...this.target];
    this.again();
  }

  zoom(by, at = 0.5) {
    const [begin, end] = this.target;
    const fixed = begin + (end - begin) * at;
    this.go(fixed - (fixed - begin) * by, fixed + (end - fixed) * by);
  }

  pan(by) {
    const [begin, end] = this.target;
    this.go(begin + (end - begin) * by, end + (end - begin) * by);
  }

  whole() {
    this.go(...this.limits);
  }

  // A gap with as much around it.
  to(g) {
    const { begin, end } = this.model.gap;
    const room = Math.max((end[g] - begin[g]) * 0.6, SHORTEST);
    this.go(begin[g] - room, end[g] + room);
    if (this.lanes.length > this.model.cpus.length) this.lay(); // its threads come first
    this.show(this.layout.lane(this.model.gap.cpu[g]));
  }

  // Scroll to a lane; to a thread so that its cpu is above it where there is room.
  show(lane) {
    const { scrollTop: top, clientHeight: height } = this.scroller;
    const cpu = this.layout.lane(lane.cpu);
    const from = lane.y + lane.height - cpu.y <= height ? cpu.y : lane.y;
    if (from < top || lane.y + lane.height > top + height || lane.tid !== undefined) this.scroller.scrollTop = from - 4;
  }

  // A thread's event that is nearest to what is seen.
  meet({ events: { all } }) {
    const { model } = this;
    const [begin, end] = this.target;
    const middle = (begin + end) / 2;
    const i = bisect(all, middle, model.time);
    const far = (e) => (e === undefined ? Infinity : Math.abs(model.time(e) - middle));
    const e = far(all[i - 1]) < far(all[i]) ? all[i - 1] : all[i];
    const half = (end - begin) / 2;
    if (model.time(e) < begin || model.time(e) > end) this.go(model.time(e) - half, model.time(e) + half);
    this.point(e);
  }

  // Some recorded events in a row of a cpu.
  visit(e, length) {
    const lane = this.layout.lane(this.model.event.cpu[e]);
    const { recorded } = lane.events;
    const last = recorded[Math.min(recorded.length, bisect(recorded, e) + length) - 1];
    const [begin, end] = [e, last].map(this.model.time);
    const room = Math.max((end - begin) * 0.3, SHORTEST);
    this.go(begin - room, end + room);
    this.show(lane);
    this.point(e);
  }

  mark(g) {
    this.chosen = g;
    this.layout.mark(g);
    this.again();
  }

  point(e) {
    this.pointed = e;
    this.again();
  }

  draw() {
    const [begin, end] = this.view;
    const moves = this.target.map((to, i) => to - this.view[i]);
    const near = Math.max(...moves.map(Math.abs)) * this.width < (end - begin) * 0.3;
    this.view = near ? [...this.target] : this.view.map((from, i) => from + moves[i] * 0.35);
    this._lanes();
    this._overview();
    this.layout.tell(this.scroller.scrollTop, this.height);
    this._say();
    if (!near) this.again();
  }

  _lanes() {
    const c = this.canvas.getContext("2d");
    const { painter, width, height } = this;
    c.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    c.clearRect(0, 0, width, height);
    painter.on(c, width, ...this.view);
    this._grid(c, height);
    const top = this.scroller.scrollTop;
    const shown = this.lanes.filter((l) => l.y + l.height > top && l.y < top + height);
    let most = 1;
    const found = shown.map((lane) => {
      const { all, crowded, recorded, inferred } = painter.seen(lane.events);
      if (!crowded && !this._uncounted(lane)) return { all };
      const bars = {
        recorded: this._beyond(lane, painter.columns(lane.events.recorded, recorded || [0, 0])),
        inferred: painter.columns(lane.events.inferred, inferred || [0, 0], lane.events.sure),
      };
      for (const count of bars.recorded.counts) if (count > most) most = count;
      return { all, bars, crowded };
    });
    shown.forEach((lane, i) => {
      const y = lane.y - top;
      c.fillStyle = painter.ink.soft;
      c.fillRect(0, y, width, lane.height);
      painter.gaps(lane.gaps, y, lane.height, lane.tid === undefined);
      const { all, bars, crowded } = found[i];
      if (bars) painter.bars(bars, most, y, lane.height);
      if (crowded) return;
      if (lane.tid === undefined) painter.marks(lane.events, all, y, lane.height);
      else painter.calls(lane.events, all, y, lane.height);
    });
    this._chosen(c, top, height);
  }

  // Whether events of a cpu that are seen are only counted, not told one by one.
  _uncounted(lane) {
    return this.model.until !== null && lane.tid === undefined && this.view[1] > this.model.until;
  }

  // Where only counts are known, these.
  _beyond(lane, columns) {
    const at = this.model.counted.indexOf(lane.cpu);
    if (!this._uncounted(lane) || at < 0) return columns;
    const parts = this.model.density.length / this.model.counted.length;
    const counts = this.model.density.subarray(at * parts, (at + 1) * parts);
    const [begin, end] = this.view;
    const step = (end - begin) / columns.counts.length;
    const part = this.span / parts;
    for (let k = 0; k < columns.counts.length; k++) {
      const from = Math.max(begin + k * step, 0);
      const to = Math.min(begin + (k + 1) * step, this.span);
      if (from < this.model.until || from >= to) continue;
      let sum = 0;
      for (let i = Math.floor(from / part); i * part < to && i < parts; i++)
        sum += (counts[i] * (Math.min(to, (i + 1) * part) - Math.max(from, i * part))) / part;
      columns.counts[k] = Math.max(columns.counts[k], sum);
    }
    return columns;
  }

  _ticks() {
    const [begin, end] = this.view;
    const rough = (end - begin) / Math.max(2, this.width / 130);
    let step = 10 ** Math.floor(Math.log10(rough));
    step *= [1, 2, 5, 10].find((f) => f * step >= rough);
    if (this.model.index) step = Math.max(1, step);
    const ticks = [];
    for (let k = Math.ceil(Math.max(begin, 0) / step); k * step <= Math.min(end, this.span) && ticks.length < 50; k++) ticks.push(k * step);
    return { step, ticks };
  }

  _grid(c, height) {
    c.strokeStyle = this.painter.ink.rule;
    c.lineWidth = 1;
    for (const time of this._ticks().ticks) {
      const x = Math.round(this.painter.x(time)) + 0.5;
      c.beginPath();
      c.moveTo(x, 0);
      c.lineTo(x, height);
      c.stroke();
    }
  }

  // What is chosen, and what is pointed at in the list of events.
  _chosen(c, top, height) {
    const { painter, model, chosen: g, pointed: e } = this;
    c.strokeStyle = painter.ink.ink;
    if (g >= 0) {
      const left = painter.x(model.gap.begin[g]);
      const right = Math.max(painter.x(model.gap.end[g]), left + 1);
      for (const lane of this.lanes) {
        if (lane.cpu !== model.gap.cpu[g] || lane.tid !== undefined) continue;
        c.lineWidth = 2;
        c.strokeRect(left - 1, lane.y - top - 1, right - left + 2, lane.height + 2);
      }
    }
    c.lineWidth = 1;
    if (e < 0) return;
    const x = Math.round(painter.x(model.event.time[e])) + 0.5;
    c.beginPath();
    c.moveTo(x, 0);
    c.lineTo(x, height);
    c.stroke();
  }

  // All of the trace: events as a grey area, what was lost as columns as high as the share of time it took.
  _overview() {
    const c = this.overview.getContext("2d");
    const { painter, width, left } = this;
    this.sketch ??= this._sketch();
    c.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    c.clearRect(0, 0, left + width, OVERVIEW + RULER);
    c.font = "11px system-ui, sans-serif";
    c.fillStyle = painter.ink.dim;
    c.fillText("all cpus", 10, OVERVIEW / 2 + 4);
    c.save();
    c.translate(left, 0);
    c.drawImage(this.sketch, 0, 0, width, OVERVIEW);
    const all = this.limits[1] - this.limits[0];
    const [from, to] = this.view.map((t) => ((t - this.limits[0]) / all) * width);
    c.globalAlpha = 0.62;
    c.fillStyle = painter.ink.card;
    c.fillRect(0, 0, from, OVERVIEW);
    c.fillRect(to, 0, width - to, OVERVIEW);
    c.globalAlpha = 1;
    c.strokeStyle = painter.ink.ink;
    c.lineWidth = 1;
    c.strokeRect(from + 0.5, 0.5, Math.max(2, to - from - 1), OVERVIEW - 1);
    const { step, ticks } = this._ticks();
    c.fillStyle = painter.ink.dim;
    c.textAlign = "center";
    for (const time of ticks) {
      const x = painter.x(time);
      c.fillRect(Math.round(x), OVERVIEW + RULER - 4, 1, 4);
      c.fillText(this.clock.mark(time, step, this.view[1]), x, OVERVIEW + RULER - 7);
    }
    c.restore();
  }

  _sketch() {
    const { width, model, limits } = this;
    const sketch = sized(document.createElement("canvas"), width, OVERVIEW, this.scale);
    const c = sketch.getContext("2d");
    c.scale(this.scale, this.scale);
    const painter = new Painter(model);
    painter.ink = this.painter.ink;
    painter.on(c, width, ...limits);
    const n = Math.ceil(width / 3);
    const events = new Float32Array(n);
    for (const lane of model.cpus) {
      const { counts } = this._beyondAll(lane, painter);
      counts.forEach((count, k) => (events[k] += count));
    }
    const most = Math.log1p(events.reduce((a, b) => Math.max(a, b), 1));
    c.fillStyle = painter.ink.rule;
    events.forEach((count, k) => {
      const h = (Math.log1p(count) / most) * (OVERVIEW - 6);
      c.fillRect(k * 3, OVERVIEW - h, 3, h);
    });
    const lost = [0, 1].map(() => new Float32Array(width));
    const share = new Float32Array(width);
    for (let g = 0; g < model.size; g++) {
      const from = Math.max(0, painter.x(model.gap.begin[g]));
      const to = Math.min(width, painter.x(model.gap.end[g]));
      for (let x = from | 0; x < width && x <= to; x++) {
        const part = Math.max(0.01, Math.min(to, x + 1) - Math.max(from, x)) / model.cpus.length;
        const open = model.gap.status[g] ? 1 : 0;
        lost[open][x] += part;
        if (!open) share[x] += (part * model.gap.sure[g]) / 10000;
      }
    }
    for (let x = 0; x < width; x++) {
      let y = OVERVIEW;
      for (const open of [0, 1]) {
        if (!lost[open][x]) continue;
        const h = Math.max(3, Math.min(1, lost[open][x]) * (OVERVIEW - 2));
        c.fillStyle = open ? painter.ink.open : painter.ink.inferred;
        c.globalAlpha = open ? 0.9 : faint(share[x] / lost[0][x]);
        c.fillRect(x, (y -= h), 1, h);
        c.globalAlpha = 1;
      }
    }
    return sketch;
  }

  _beyondAll(lane, painter) {
    const columns = painter.columns(lane.events.recorded, [0, lane.events.recorded.length]);
    const view = this.view;
    this.view = this.limits;
    const found = this._beyond(lane, columns);
    this.view = view;
    return found;
  }

  _say() {
    const [begin, end] = this.view.map((t) => Math.min(Math.max(t, 0), this.span));
    const { model, clock } = this;
    const unit = clock.index ? "" : " s";
    const said = [`Shown: ${clock.index ? plural(Math.round(end - begin), "position") : clock.span(end - begin)}, from ${clock.at(begin)}${unit} to ${clock.at(end)}${unit}.`];
    const beyond = model.until !== null && end > model.until;
    if (beyond) said.push(`Beyond ${clock.at(model.until)}${unit} only events beside gaps are in this page; the others are counted.`);
    this.foot.textContent = said.join(" ");
    this.canvas.setAttribute("aria-label", `Timeline of ${plural(model.cpus.length, "cpu")} with ${plural(model.size, "gap")}. ${said.join(" ")} The list below has the same gaps.`);
  }

  // What lies at a place of the canvas: the lane, an event if one is near, a gap.
  at(x, y) {
    const lane = this.lanes.find((l) => y >= l.y - this.scroller.scrollTop && y < l.y + l.height - this.scroller.scrollTop);
    if (!lane) return { event: -1, gap: -1 };
    const { model, painter } = this;
    const time = painter.begin + x / painter.unit;
    const list = lane.events.all;
    const i = bisect(list, time, model.time);
    let event = -1, near = NEAR;
    for (const e of [list[i - 1], list[i]]) {
      const far = e === undefined ? near : Math.abs(painter.x(model.event.time[e]) - x);
      if (far < near) [event, near] = [e, far];
    }
    const { begin, end } = model.gap;
    let gap = event >= 0 ? (model.numbers.get(model.event.gap[event]) ?? -1) : -1;
    const wide = 3 / painter.unit;
    let least = Infinity;
    for (let k = bisect(lane.gaps.ends, time - wide); gap < 0 && k < lane.gaps.all.length; k++) {
      const g = lane.gaps.all[k];
      if (begin[g] > time + wide) break;
      const far = Math.max(begin[g] - time, time - end[g]);
      if (far <= wide && far < least) [gap, least] = [g, far];
      if (far <= 0) break;
    }
    return { lane, event, gap };
  }

  _listen() {
    const { canvas, scroller, overview } = this;
    scroller.addEventListener("scroll", () => this.again());
    scroller.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this._drag(event));
    canvas.addEventListener("pointermove", (event) => this._hover(event));
    canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    canvas.addEventListener("dblclick", (event) => {
      const { gap } = this.at(event.offsetX, event.offsetY);
      if (gap >= 0) this.to(gap);
      else this.zoom(0.25, event.offsetX / this.width);
    });
    overview.addEventListener("pointerdown", (event) => this._choose(event));
  }

  _wheel(event) {
    const along = event.deltaX || (event.shiftKey ? event.deltaY : 0);
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.005))), Math.max(0, event.clientX - this.canvas.getBoundingClientRect().left) / this.width);
    else if (along) this.pan((along * 0.8) / this.width);
    else return;
    event.preventDefault();
  }

  // Dragging moves in time; with Shift it chooses what is shown. What doesn't move is a click.
  _drag(down) {
    if (down.button) return;
    const [begin, end] = this.view;
    const unit = (end - begin) / this.width;
    let moved = false;
    const box = down.shiftKey ? this.inner.appendChild(make("div", { class: "choosing" })) : null;
    const move = (event) => {
      const by = event.clientX - down.clientX;
      moved ||= Math.abs(by) > 3;
      if (!moved) return;
      this.tip.hidden = true;
      if (box) Object.assign(box.style, { left: `${this.left + Math.min(down.offsetX, down.offsetX + by)}px`, width: `${Math.abs(by)}px` });
      else {
        this.go(begin - by * unit, end - by * unit);
        this.view = [...this.target];
      }
    };
    const up = (event) => {
      canvas.removeEventListener("pointermove", move);
      box?.remove();
      const places = [down.offsetX, down.offsetX + event.clientX - down.clientX].sort((a, b) => a - b);
      if (moved && box) this.go(...places.map((x) => begin + x * unit));
      if (moved || event.type === "pointercancel") return;
      const { gap } = this.at(down.offsetX, down.offsetY);
      if (gap >= 0) this.choose(gap);
    };
    const { canvas } = this;
    canvas.setPointerCapture(down.pointerId);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", up, { once: true });
    canvas.addEventListener("pointercancel", up, { once: true });
  }

  // In the overview a drag chooses what is shown, a click moves there.
  _choose(down) {
    const { overview, limits, left, width } = this;
    const time = (event) => limits[0] + ((event.clientX - overview.getBoundingClientRect().left - left) / width) * (limits[1] - limits[0]);
    const from = time(down);
    const length = this.target[1] - this.target[0];
    this.go(from - length / 2, from + length / 2);
    const move = (event) => {
      if (Math.abs(event.clientX - down.clientX) > 3) this.go(...[from, time(event)].sort((a, b) => a - b));
    };
    overview.setPointerCapture(down.pointerId);
    overview.addEventListener("pointermove", move);
    overview.addEventListener("pointerup", () => overview.removeEventListener("pointermove", move), { once: true });
  }

  _hover(event) {
    const { offsetX: x, offsetY: y } = event;
    const { lane, event: e, gap } = this.at(x, y);
    const told = [...this._ofEvent(e), ...this._ofGap(gap)];
    this.canvas.style.cursor = gap >= 0 ? "pointer" : "grab";
    this.tip.hidden = !lane || !told.length || event.buttons > 0;
    if (this.tip.hidden) return;
    this.tip.replaceChildren(...told.map((text) => make("div", {}, text)));
    const box = this.tip.parentElement.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth - 8);
    Object.assign(this.tip.style, { left: `${Math.max(4, left)}px`, top: `${event.clientY - box.top + 16}px` });
  }

  _ofEvent(e) {
    if (e < 0) return [];
    const { event } = this.model;
    const how = event.gap[e] < 0 ? "recorded" : `inferred, confidence ${share(event.sure[e])}`;
    return [`${titleOf(this.model, event.name[e], event.phase[e])} (${PHASES[event.phase[e]]})`, threadOf(this.model, event.thread[e]).join(" "), `${this.clock.at(event.time[e])}: ${how}`];
  }

  _ofGap(g) {
    if (g < 0) return [];
    const { gap } = this.model;
    const lost = gap.count[g] < 0 ? "an unknown number of events" : plural(gap.count[g], "event");
    const sure = gap.sure[g] < 0 ? "" : `, confidence ${share(gap.sure[g])}`;
    return [`Gap ${number(gap.gap[g])}: ${lost} lost in ${this.clock.span(gap.end[g] - gap.begin[g])}, ${STATUSES[gap.status[g]]}${sure}`];
  }
}

function sized(canvas, width, height, scale) {
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  return canvas;
}
