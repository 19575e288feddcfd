// The list of gaps: sorted and filtered; of any number only the rows that are seen are there.
import { KNOWN, STATUSES, make, number, plural, share } from "./words.mjs";

const ROW = 29; // pixels, as the style has it

export class List {
  constructor(model, clock, choose) {
    Object.assign(this, { model, clock, choose, chosen: -1, sorted: model.compared ? "missing" : "doubted", down: true });
    this.scroller = document.getElementById("rows");
    this.body = document.getElementById("body");
    this.columns = this._columns();
    this._head();
    this._filters();
    this.scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => (this.chosen < 0 ? this.draw() : this.mark(this.chosen))).observe(this.scroller);
    this.filter();
  }

  // What stands in the columns: how gaps are sorted by it, how it is told, and whether it may be left out when narrow.
  _columns() {
    const { gap } = this.model;
    const columns = [
      ["gap", "Gap", (g) => gap.gap[g], (g) => make("a", { href: `#gap-${gap.gap[g]}` }, String(gap.gap[g]))],
      ["cpu", "Cpu", (g) => gap.cpu[g], (g) => (gap.cpu[g] < 0 ? "–" : String(gap.cpu[g]))],
      ["begin", this.clock.index ? "Position" : "Begin, s", (g) => gap.begin[g], (g) => this.clock.at(gap.begin[g]), true],
      ["length", "Length", (g) => gap.end[g] - gap.begin[g], (g) => this.clock.span(gap.end[g] - gap.begin[g])],
      ["lost", "Lost", (g) => gap.count[g], (g) => (gap.count[g] < 0 ? "?" : number(gap.count[g]))],
      ["status", "Outcome", (g) => gap.status[g], (g) => make("span", { class: `status s${gap.status[g]}` }, STATUSES[gap.status[g]])],
      ["sure", "Confidence", (g) => gap.sure[g], (g) => sureness(gap.sure[g])],
      ["doubted", "Likely not right", (g) => this.model.likelyNotRight(g), (g) => likely(this.model.likelyNotRight(g))],
      ["known", "Known", (g) => gap.known[g], (g) => KNOWN[gap.known[g]], true],
      ["events", "Inferred", (g) => gap.events[g], (g) => (gap.status[g] ? "–" : number(gap.events[g]) + (gap.estimated[g] ? " est." : "")), true],
    ];
    if (this.model.compared) {
      this.scroller.className = "compared";
      const counted = (key, title, wide) => [key, title, (g) => gap[key][g], (g) => number(gap[key][g]), wide];
      columns.splice(7, 1, counted("right", "Right"), counted("shifted", "Shifted", true), counted("missing", "Missing"), counted("absent", "Not there"));
    }
    if (this.model.drawn)
      columns.push(["agreement", "Agreement", (g) => gap.agreement[g], (g) => share(gap.agreement[g]), true]);
    return columns.map(([key, title, value, tell, wide]) => ({ key, title, value, tell, wide: Boolean(wide) }));
  }

  _head() {
    const row = document.getElementById("columns");
    for (const column of this.columns) {
      const sort = () => {
        this.down = this.sorted === column.key ? !this.down : ["missing", "doubted"].includes(column.key);
        this.sorted = column.key;
        this.sort();
      };
      column.head = make("th", { scope: "col", class: klass(column) }, make("button", { type: "button", onclick: sort }, column.title));
      row.append(column.head);
    }
  }

  _filters() {
    const cpus = document.getElementById("cpu");
    for (const cpu of [...new Set(this.model.gap.cpu)].sort((a, b) => a - b))
      cpus.append(make("option", { value: String(cpu) }, cpu < 0 ? "no cpu" : `cpu ${cpu}`));
    const form = document.getElementById("filters");
    form.addEventListener("input", () => this.filter());
    form.addEventListener("submit", (event) => event.preventDefault());
    this.asked = (id) => document.getElementById(id).value.trim();
  }

  filter() {
    const { gap, size } = this.model;
    const asked = Object.fromEntries(["status", "known", "cpu", "least", "sure"].map((id) => [id, this.asked(id)]));
    const named = this._named(this.asked("search").toLowerCase());
    this.order = Int32Array.from({ length: size }, (_, g) => g).filter(
      (g) =>
        (asked.status === "" || gap.status[g] === Number(asked.status)) &&
        (asked.known === "" || gap.known[g] === Number(asked.known)) &&
        (asked.cpu === "" || gap.cpu[g] === Number(asked.cpu)) &&
        (asked.least === "" || gap.count[g] >= Number(asked.least)) &&
        (asked.sure === "" || (gap.sure[g] >= 0 && gap.sure[g] <= 10000 * Number(asked.sure))) &&
        named(g),
    );
    this.sort();
  }

  // Which gaps a text is said of: by their number, or by the calls and commands of their events and of those beside.
  _named(text) {
    const { model } = this;
    if (!text) return () => true;
    const number = /^(?:gap\s*)?#?(\d+)$/.exec(text);
    if (number) return (g) => model.gap.gap[g] === Number(number[1]);
    const fits = (told) => Uint8Array.from(told, (name) => name.toLowerCase().includes(text));
    const names = fits(model.strings.names);
    const threads = fits(model.strings.threads);
    const holds = (e) => e >= 0 && (names[model.event.name[e]] || threads[model.event.thread[e]]);
    return (g) => holds(model.gap.before[g]) || holds(model.gap.after[g]) || model.eventsOf(g).some(holds);
  }

  sort() {
    const { value } = this.columns.find((c) => c.key === this.sorted);
    const sign = this.down ? -1 : 1;
    this.order.sort((g, h) => (value(g) === value(h) ? g - h : sign * (value(g) - value(h))));
    for (const { key, head } of this.columns) {
      if (key === this.sorted) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const { size, gaps } = this.model;
    const all = size < gaps ? `the first ${plural(size, "gap")} of ${number(gaps)}` : plural(size, "gap");
    document.getElementById("found").textContent =
      this.order.length === size ? all : `${number(this.order.length)} of ${all}`;
    this.body.parentElement.setAttribute("aria-rowcount", this.order.length + 1);
    this.draw(true);
  }

  draw(anew = false) {
    if (this.all) return;
    const seen = Math.ceil(this.scroller.clientHeight / ROW) + 2;
    const last = Math.max(0, this.order.length - seen);
    const first = Math.min(last, Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - 1));
    if (!anew && first === this.first && seen === this.seen) return;
    Object.assign(this, { first, seen });
    const end = Math.min(this.order.length, first + seen);
    this._put(first, end);
  }

  _put(first, end) {
    const rows = [];
    for (let i = first; i < end; i++) rows.push(this._row(i));
    const room = (n) => (n ? [make("tr", { class: "room", "aria-hidden": "true", style: `height:${n * ROW}px` })] : []);
    const focused = this.body.contains(document.activeElement);
    this.body.replaceChildren(...room(first), ...rows, ...room(this.order.length - end));
    if (focused) (this.body.querySelector(".chosen a") ?? this.scroller).focus({ preventScroll: true }); // not lost
    if (!this.order.length) this.body.append(this._none());
  }

  // No gap is what was asked for.
  _none() {
    const all = () => {
      document.getElementById("filters").reset();
      this.filter();
    };
    const button = make("button", { type: "button", onclick: all }, "Show all gaps");
    return make("tr", { class: "none" }, make("td", { colspan: this.columns.length }, "No gap is like that. ", button));
  }

  _row(i) {
    const g = this.order[i];
    const cells = this.columns.map((c) => make("td", { class: klass(c) }, c.tell(g)));
    const chosen = g === this.chosen;
    return make(
      "tr",
      { "aria-rowindex": i + 2, "aria-current": chosen && "true", class: chosen && "chosen", onclick: () => this.choose(g) },
      ...cells,
    );
  }

  // The next gap of the list, or the previous one.
  step(by) {
    const at = this.order.indexOf(this.chosen);
    const to = at < 0 ? (by > 0 ? 0 : this.order.length - 1) : Math.min(Math.max(at + by, 0), this.order.length - 1);
    if (this.order.length) this.choose(this.order[to]);
  }

  mark(g) {
    this.chosen = g;
    const at = this.order.indexOf(g);
    const { scrollTop: top, clientHeight: height } = this.scroller;
    const head = this.columns[0].head.offsetHeight;
    if (at >= 0 && at * ROW < top) this.scroller.scrollTop = at * ROW;
    else if (at >= 0 && (at + 1) * ROW + head > top + height) this.scroller.scrollTop = (at + 1) * ROW + head - height;
    this.draw(true);
  }

  // On paper there is nothing to scroll: the first rows, all at once.
  print(on) {
    this.all = on;
    if (on) this._put(0, Math.min(this.order.length, 500));
    else this.draw(true);
  }
}

function likely(events) {
  return events < 0 ? "–" : number(Math.round(events));
}

function klass({ key, wide }) {
  const right = !["status", "known", "sure"].includes(key);
  return `of-${key}${right ? " right" : ""}${wide ? " wide-only" : ""}`;
}

export function sureness(parts) {
  if (parts < 0) return make("span", { class: "dim" }, "–");
  const bar = make("i", {});
  bar.style.width = `${parts / 100}%`;
  return make("span", { class: "sureness" }, make("span", { class: "gauge", "aria-hidden": "true" }, bar), share(parts));
}
