// One gap: what is known of it, and its events between the recorded ones.
import { sureness } from "./list.mjs";
import { Places } from "./places.mjs";
import { PHASES, STATUSES, make, number, plural, threadOf, titleOf } from "./words.mjs";

const AROUND = 5; // recorded events on each side
// How a gap is known: counted, uncounted, suspected.
const TOLD = ["the tracer counted them", "the tracer marked that, without a number", "suspected, the tracer marked nothing here"];
const SHOWN = 300; // rows that are there before more are asked for

export class Detail {
  constructor(model, clock, { point, visit }) {
    Object.assign(this, { model, clock, point, visit, tab: "events" });
    this.title = document.getElementById("which");
    this.about = document.getElementById("about");
    this.events = document.getElementById("events");
  }

  show(g) {
    const { gap } = this.model;
    this.g = g;
    const where = gap.cpu[g] < 0 ? "" : ` on cpu ${gap.cpu[g]}`;
    const status = make("span", { class: `status s${gap.status[g]}` }, STATUSES[gap.status[g]]);
    this.title.replaceChildren(`Gap ${gap.gap[g]}${where} `, status);
    this.about.replaceChildren(...this._said(g).map((text) => make("p", {}, text)), this._tabs(g));
    this._open();
  }

  // What there is to know of it, a sentence each.
  _said(g) {
    const { gap, strings } = this.model;
    const lost = gap.count[g] < 0 ? "An unknown number of events" : plural(gap.count[g], "event");
    const open = ["", " Nothing was recorded before it.", " Nothing was recorded after it.", " Nothing was recorded around it."];
    const [begin, end] = [gap.begin[g], gap.end[g]].map((time) => this.clock.at(time));
    const where = this.clock.index ? `between positions ${begin} and ${end}` : `in ${this.clock.span(gap.end[g] - gap.begin[g])}, from ${begin} s on`;
    const said = [`${lost} lost ${where}: ${TOLD[gap.known[g]]}.${open[gap.open[g]]}`];
    const many = this.model.estimate(g);
    if (many !== undefined) said.push(`By an estimate ${plural(many, "event")} ${many === 1 ? "was" : "were"} lost.`);
    if (gap.reason[g] >= 0 && strings.reasons[gap.reason[g]]) said.push(`Why: ${strings.reasons[gap.reason[g]]}.`);
    if (strings.reasons[gap.by[g]]) said.push(`Filled by ${strings.reasons[gap.by[g]]}: there was no more time.`);
    if (gap.changed[g])
      said.push(`${plural(gap.changed[g], "event")} of the fill ${gap.changed[g] === 1 ? "isn't what was" : "aren't what was"} proposed first: that would not have fitted the events around (a call ends only once it began, a thread does one thing at a time).`);
    else if (gap.events[g]) said.push("No event of the fill had to be changed to fit the events around.");
    if (gap.unmet[g])
      said.push(`${plural(gap.unmet[g], "call")} left open: the count has no room to close ${gap.unmet[g] === 1 ? "it" : "them"}.`);
    if (this.model.compared) {
      const [right, shifted, absent, missing] = ["right", "shifted", "absent", "missing"].map((how) => gap[how][g]);
      const lost = right + shifted + missing;
      said.push(`Of ${plural(lost, "event")} really lost ${number(right)} right, ${number(shifted)} shifted, ${number(missing)} missing; of ${plural(right + shifted + absent, "inferred event")} ${number(absent)} ${absent === 1 ? "was" : "were"} not there.`);
    }
    if (gap.agreement[g] >= 0)
      said.push(`${Math.round(gap.agreement[g] / 100)} % of the events of the other fills are the same as here.`);
    return said;
  }

  _tabs(g) {
    const tabs = [["events", "Events"]];
    const others = this.model.alternatives(g).length;
    if (this.model.compared && this.model.lost(g).length) tabs.push(["truth", "Against the truth"]);
    if (this.model.eventsOf(g).length) tabs.push(["places", "Seen elsewhere"]);
    if (others) tabs.push(["others", `${others} other fills`]);
    if (!tabs.some(([key]) => key === this.tab)) this.tab = "events";
    if (tabs.length === 1) return "";
    const button = ([key, title]) => {
      const open = () => {
        this.tab = key;
        for (const other of bar.children) other.setAttribute("aria-pressed", String(other === made));
        this._open();
      };
      const made = make("button", { type: "button", "aria-pressed": String(key === this.tab), onclick: open }, title);
      return made;
    };
    const bar = make("div", { class: "tabs" }, ...tabs.map(button));
    return bar;
  }

  _open() {
    const tabs = { events: () => this._events(), others: () => this._others(), places: () => this._places(), truth: () => this._truth() };
    this.events.replaceChildren(tabs[this.tab]());
    this.events.scrollTop = 0;
  }

  _events() {
    const { model, g } = this;
    const [before, after] = model.around(g, AROUND);
    const inferred = model.eventsOf(g);
    const rows = [
      ...this._recorded(before, "before"),
      ...this._rows(inferred, (e) => this._row(e), 5),
      ...this._recorded(after, "after"),
    ];
    if (!inferred.length) rows.splice(before.length || 1, 0, note(this._none(), 5));
    const made = table([this.clock.index ? "Position" : "Since begin", "Thread", "Event", "Phase", "Confidence"], rows);
    made.classList.add("phased"); // where it is narrow the arrows do
    return made;
  }

  _none() {
    const { gap } = this.model;
    if (gap.status[this.g]) return `nothing inferred: ${STATUSES[gap.status[this.g]]}`;
    return `${plural(gap.events[this.g], "inferred event")} not in this page: there was no room; the overlay has them all`;
  }

  _recorded(events, side) {
    const open = this.model.gap.open[this.g] & (side === "before" ? 1 : 2);
    if (events.length) return Array.from(events, (e) => this._row(e));
    return [note(open ? `nothing recorded ${side} this gap` : `what was recorded ${side} this gap is not in this page`, 5)];
  }

  // Rows of the first events, and a button for the others.
  _rows(events, row, columns) {
    const shown = Array.from(events.subarray(0, SHOWN), row);
    if (events.length <= SHOWN) return shown;
    const rest = events.subarray(SHOWN);
    const more = () => last.replaceWith(...this._rows(rest, row, columns));
    const last = note(make("button", { type: "button", onclick: more }, `${number(rest.length)} more inferred events`), columns);
    return [...shown, last];
  }

  _row(e) {
    const { model, clock, g } = this;
    const { event } = model;
    const [comm, tid] = threadOf(model, event.thread[e]);
    const inferred = event.gap[e] >= 0;
    const what = make("td", {}, make("code", {}, titleOf(model, event.name[e], event.phase[e])));
    if (inferred) {
      const fields = model.fields(e).map(([name, value, sure]) => make("span", {}, make("code", {}, `${name}=${value}`), ` ${sure.toFixed(2)}`));
      if (fields.length) what.append(make("div", { class: "fields" }, ...fields));
    }
    const since = event.time[e] - model.gap.begin[g];
    const when = clock.index ? clock.at(event.time[e]) : `${since < 0 ? "−" : "+"}${clock.span(Math.abs(since))}`;
    return make(
      "tr",
      { class: inferred ? "inferred" : "recorded", onmouseenter: () => this.point(e), onmouseleave: () => this.point(-1) },
      make("td", { class: "right", title: clock.at(event.time[e]) }, when),
      make("td", {}, comm, " ", make("span", { class: "dim" }, tid)),
      what,
      make("td", { class: "dim" }, PHASES[event.phase[e]]),
      inferred
        ? make("td", {}, make("span", { class: "badge" }, "inferred"), " ", sureness(event.sure[e]))
        : make("td", { class: "dim" }, "recorded"),
    );
  }

  // Which parts of the fill also stand among the recorded events, and where.
  _places() {
    const { model, clock, g } = this;
    this.places ??= new Places(model);
    const row = ({ first, length, event: e, recording }) => {
      const part = make("td", { class: "right" }, length === 1 ? String(first + 1) : `${number(first + 1)}–${number(first + length)}`);
      if (recording !== undefined) return make("tr", {}, part, make("td", { colspan: 3 }, `in ${model.strings.recordings[recording]}`));
      if (e === undefined) return make("tr", {}, part, make("td", { class: "dim", colspan: 3 }, "no six of them in a row anywhere else"));
      const cpu = model.event.cpu[e];
      const [comm, tid] = threadOf(model, model.event.thread[e]);
      const go = make("button", { type: "button", class: "link", title: "Show it in the timeline", onclick: () => this.visit(e, length) }, `${clock.at(model.event.time[e])}`);
      return make("tr", {}, part, make("td", {}, go), make("td", {}, cpu < 0 ? "–" : `cpu ${cpu}`), make("td", {}, comm, " ", make("span", { class: "dim" }, tid)));
    };
    const head = ["Events", this.clock.index ? "also at position" : "also at, s", "on", "by"];
    const searched = ["this trace", ...model.strings.searched];
    const said = make("p", { class: "dim" }, `A fill is copied from places like these: where six or more of its events stand in a row in ${searched.join(", or in ")}.`);
    const held = table(head, model.eventsOf(g).length ? this.places.of(g).map(row) : []);
    return make("div", { class: "places" }, said, held);
  }

  // The fill beside what was really lost, place by place.
  _truth() {
    const { model, g } = this;
    const { event, truth } = model;
    const fill = model.eventsOf(g), lost = model.lost(g);
    const { told, been } = model.judged(g);
    const longest = Int32Array.from({ length: Math.max(fill.length, lost.length) }, (_, i) => i);
    const cell = (how, words, title) =>
      make("td", { class: `j${how}` }, title && make("code", {}, title), title && make("span", { class: "verdict" }, words[how]));
    const row = (i) =>
      make(
        "tr",
        {},
        make("td", { class: "right dim" }, String(i + 1)),
        cell(told[i], ["right", "shifted", "not there"], i < fill.length ? titleOf(model, event.name[fill[i]], event.phase[fill[i]]) : ""),
        cell(been[i], ["right", "shifted", "missing"], i < lost.length ? titleOf(model, truth.name[lost[i]], truth.phase[lost[i]]) : ""),
      );
    return table(["", "Inferred", "Really lost"], this._rows(longest, row, 3));
  }

  // The fill and the others side by side, place by place.
  _others() {
    const { model, g } = this;
    const { event, other } = model;
    const fill = model.eventsOf(g);
    const kinds = model.alternatives(g);
    const row = (e, i) => {
      const own = titleOf(model, event.name[e], event.phase[e]);
      const cells = kinds.map((places) => {
        const told = places[i] === undefined ? "" : titleOf(model, other.name[places[i]], other.phase[places[i]]);
        return make("td", told === own ? { class: "same" } : { class: "else" }, make("code", {}, told));
      });
      return make("tr", {}, make("td", { class: "right dim" }, String(i + 1)), make("td", { class: "own" }, make("code", {}, own)), ...cells);
    };
    let at = 0;
    return table(["", "The fill", ...kinds.map((_, k) => `Other ${k + 1}`)], this._rows(fill, (e) => row(e, at++), kinds.length + 2));
  }
}

function note(told, columns) {
  return make("tr", { class: "note" }, make("td", { colspan: columns, class: "dim" }, told));
}

function table(head, rows) {
  const titles = head.map((title, i) => make("th", { scope: "col", class: i ? null : "right" }, title));
  return make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows));
}
