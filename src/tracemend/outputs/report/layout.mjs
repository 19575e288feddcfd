// Which lanes there are, one below the other, and what they are called: cpus, and the threads of those that are unfolded
// or that have a thread somebody looks for. Threads of the chosen gap come first, then those with events in sight.
import { bisect } from "./data.mjs";
import { make, plural, threadOf } from "./words.mjs";

const CPU = 48, THREAD = 22, SPACE = 4; // heights of lanes, and the space between them
const BESIDE = 5; // recorded events on each side of a gap whose threads are its own, too

export class Layout {
  constructor(model, { changed, meet }) {
    Object.assign(this, { model, changed, meet, open: new Set(), threads: new Map(), asked: "" });
    this.labels = document.getElementById("labels");
    this.search = document.getElementById("thread");
    this.found = document.getElementById("threads");
    this.search.addEventListener("input", () => {
      this.asked = this.search.value.trim().toLowerCase();
      this.changed();
    });
    this.search.addEventListener("keydown", ({ key }) => key === "Enter" && this.asked && this.first && this.meet(this.first));
  }

  // Put the lanes anew; `g` is the chosen gap (-1: none), `view` what is seen.
  lay(g, view) {
    this.lanes = [];
    this.first = null; // the first thread that matters
    let y = SPACE, threads = 0;
    for (const row of this.model.cpus) {
      this.lanes.push({ ...row, y, height: CPU });
      y += CPU + SPACE;
      for (const thread of this._shown(row, g, view)) {
        const lane = { cpu: row.cpu, gaps: row.gaps, ...thread, y, height: THREAD };
        if (this.asked || lane.own) this.first ??= lane;
        this.lanes.push(lane);
        y += THREAD + SPACE;
        threads++;
      }
    }
    this.height = y;
    this.labelled = null;
    this.found.textContent = this.asked ? (threads ? plural(threads, "thread") : "no such thread") : "";
  }

  // The threads of a cpu that are shown, in their order.
  _shown(row, g, [begin, end]) {
    if (!this.asked && !this.open.has(row.cpu)) return [];
    const { model } = this;
    const own = this._own(row, g);
    const seen = ({ events: { all } }) => model.time(all[bisect(all, begin, model.time)] ?? all[0]) <= end && model.time(all.at(-1)) >= begin;
    const rank = (thread) => (thread.own ? 0 : seen(thread) ? 1 : 2);
    const threads = this._threads(row).map((thread) => ({ ...thread, own: own.has(thread.tid) }));
    return (this.asked ? threads.filter(({ called }) => called.includes(this.asked)) : threads)
      .map((thread) => ({ ...thread, rank: rank(thread) }))
      .sort((a, b) => a.rank - b.rank);
  }

  // All threads of a cpu, by appearance, with what each is called.
  _threads(row) {
    if (!this.threads.has(row.cpu)) {
      const told = this.model.threads(row.events.all).map((thread) => {
        const names = threadOf(this.model, this.model.event.thread[thread.events.all[0]]);
        return { ...thread, names, called: names.join(" ").toLowerCase() };
      });
      this.threads.set(row.cpu, told);
    }
    return this.threads.get(row.cpu);
  }

  // Threads of a gap's inferred events, and of those recorded beside it.
  _own({ cpu }, g) {
    const { model } = this;
    if (g < 0 || model.gap.cpu[g] !== cpu) return new Set();
    const events = [...model.eventsOf(g), ...model.around(g, BESIDE).flatMap((side) => [...side])];
    return new Set(events.map((e) => model.tids[model.event.thread[e]]));
  }

  fold(cpu) {
    if (!this.open.delete(cpu)) this.open.add(cpu);
    this.changed(cpu);
  }

  // Another gap is chosen: which threads are its own; their order stays.
  mark(g) {
    for (const row of this.model.cpus) {
      const own = this._own(row, g);
      for (const lane of this.lanes) if (lane.cpu === row.cpu && lane.tid !== undefined) lane.own = own.has(lane.tid);
    }
    this.labelled = null;
  }

  lane(cpu) {
    return this.lanes.find((l) => l.cpu === cpu && l.tid === undefined);
  }

  // Labels of the lanes that are seen.
  tell(top, height) {
    const shown = this.lanes.filter((l) => l.y + l.height > top && l.y < top + height);
    const key = shown.map((l) => `${l.cpu}/${l.tid}/${l.y}`).join();
    if (key === this.labelled) return;
    this.labelled = key;
    const focused = document.activeElement?.dataset?.lane;
    this.labels.replaceChildren(...shown.map((lane) => this._label(lane)));
    if (focused) this.labels.querySelector(`[data-lane="${focused}"]`)?.focus();
  }

  _label(lane) {
    const { cpu, tid, y, height, names, own } = lane;
    const style = `top:${y}px;height:${height}px`;
    if (tid !== undefined) {
      const title = `${names.join(" ")}${own ? " (of the chosen gap)" : ""}: show its nearest event`;
      const attributes = { type: "button", style, class: own ? "thread own" : "thread", "data-lane": `${cpu}/${tid}`, onclick: () => this.meet(lane) };
      const name = names[0] === "unknown thread" ? "unknown" : names[0];
      return make("button", { ...attributes, title }, name, " ", make("span", { class: "dim" }, names[1]));
    }
    const name = cpu < 0 ? "trace" : `cpu ${cpu}`;
    const attributes = { type: "button", style, class: "cpu", "data-cpu": String(cpu), "data-lane": String(cpu), "aria-expanded": String(this.open.has(cpu)), onclick: () => this.fold(cpu) };
    return make("button", { ...attributes, title: "Its threads" }, name);
  }
}
