// Where the events of a fill also stand in a row among the recorded ones: what it may have been copied from, and whether
// the trace does such things at all.
import { bisect } from "./data.mjs";

const RUN = 6; // events in a row, at least
const MOST = 2000; // places of the same RUN events that are compared
const ROOM = 2 ** 21; // places have numbers below

export class Places {
  constructor(model) {
    this.model = model;
    const { event, gap, until } = model;
    const behind = new Uint8Array(event.time.length); // a gap, or what isn't in this page
    for (const e of gap.after) if (e >= 0) behind[e] = 1;
    const lanes = model.cpus.map(({ events: { recorded } }) =>
      until === null ? recorded : recorded.subarray(0, bisect(recorded, until + 1, model.time)),
    );
    const n = lanes.reduce((sum, lane) => sum + lane.length, 0);
    this.events = new Int32Array(n);
    let end = 0;
    for (const lane of lanes) this.events.set(lane, (end += lane.length) - lane.length);
    this.kinds = Int32Array.from(this.events, (e) => event.name[e] * 3 + event.phase[e]);
    this.breaks = new Uint8Array(n + 1);
    this.breaks[n] = 1;
    for (let i = 0; i < n; i++)
      this.breaks[i] = behind[this.events[i]] || !i || event.cpu[this.events[i]] !== event.cpu[this.events[i - 1]] ? 1 : 0;
    // each place under what its first RUN events are
    const keys = new Float64Array(n);
    let held = 0;
    let whole = 0; // events since the last break
    for (let i = 0; i < n; i++) {
      whole = this.breaks[i] ? 1 : whole + 1;
      if (whole >= RUN) keys[held++] = hash(this.kinds, i - RUN + 1) * ROOM + i - RUN + 1;
    }
    this.keys = keys.slice(0, held).sort();
  }

  // The parts of a gap's fill, each a run that stands elsewhere, the longest from where the one before ends: its first
  // event's place and how many there are; `event`: the recorded event at which the same run begins, or `recording`: the
  // number of a recording that has it. Neither: not even RUN of them stand in a row elsewhere.
  of(g) {
    const { model } = this;
    const fill = model.eventsOf(g);
    const kinds = Int32Array.from(fill, (e) => model.event.name[e] * 3 + model.event.phase[e]);
    const { first, length: lengths, source } = model.copied;
    const copies = [...model.copiedOf(g)];
    const parts = [];
    for (let i = 0; i < kinds.length; ) {
      const [place, length] = this._longest(kinds, i);
      const k = copies.find((k) => first[k] <= i && i < first[k] + lengths[k]);
      const other = k === undefined ? 0 : first[k] + lengths[k] - i;
      const last = parts.at(-1);
      if (other > length) parts.push({ first: i, length: other, recording: source[k] });
      else if (length) parts.push({ first: i, length, event: this.events[place] });
      else if (last?.alone) last.length++;
      else parts.push({ first: i, length: 1, alone: true });
      i += Math.max(1, length, other);
    }
    return parts;
  }

  _longest(kinds, at) {
    let best = -1, longest = 0;
    if (at + RUN > kinds.length) return [best, longest];
    const key = hash(kinds, at);
    const first = bisect(this.keys, key * ROOM);
    for (let k = first; k < Math.min(this.keys.length, first + MOST) && this.keys[k] < (key + 1) * ROOM; k++) {
      const place = this.keys[k] - key * ROOM;
      let n = 0;
      while (at + n < kinds.length && kinds[at + n] === this.kinds[place + n] && (!n || !this.breaks[place + n])) n++;
      if (n >= RUN && n > longest) [best, longest] = [place, n];
    }
    return [best, longest];
  }
}

// What RUN numbers are, in 32 bits.
function hash(kinds, at) {
  let found = 0;
  for (let k = 0; k < RUN; k++) found = (Math.imul(found, 0x01000193) ^ (kinds[at + k] + 0x9e37)) >>> 0;
  return found;
}
