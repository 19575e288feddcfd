// The page's data: columns of numbers and lists of strings (columns.py says how they are packed), and what can be
// looked up in them. Times are nanoseconds since the trace's begin.

export async function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = whole.indexOf(10) + 1;
  const told = JSON.parse(new TextDecoder().decode(whole.subarray(0, at)));
  const columns = {};
  for (const [name, length, width, differences] of told.columns) {
    columns[name] = column(whole.subarray(at, at + length * width), length, width, differences);
    at += length * width;
  }
  return { ...told, columns };
}

// Numbers from their bytes; those beyond 2^53 lose their last digits.
function column(bytes, length, width, differences) {
  if (width <= 4 && !differences) {
    const values = new Int32Array(length);
    for (let k = 0; k < width; k++) {
      const plane = bytes.subarray(k * length, (k + 1) * length);
      for (let i = 0; i < length; i++) values[i] |= plane[i] << (8 * k);
    }
    for (let i = 0; i < length; i++) values[i] = (values[i] >>> 1) ^ -(values[i] & 1);
    return values;
  }
  const values = new Float64Array(length);
  for (let k = width - 1; k > 0; k--) {
    const plane = bytes.subarray(k * length, (k + 1) * length);
    const unit = 2 ** (8 * k - 1);
    for (let i = 0; i < length; i++) values[i] += plane[i] * unit;
  }
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const half = values[i] + (bytes[i] >> 1);
    const value = bytes[i] & 1 ? -half - 1 : half;
    values[i] = differences ? (sum += value) : value;
  }
  return values;
}

// The first place in an ascending list at which a value would stand; `of` says what an entry's value is.
export function bisect(list, value, of = (v) => v, low = 0, high = list.length) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Model {
  constructor({ columns, strings, ...facts }) {
    const { judged, ...rest } = facts;
    Object.assign(this, rest, { compared: judged });
    const part = (letter) => {
      const found = {};
      for (const name in columns) if (name.startsWith(`${letter}_`)) found[name.slice(2)] = columns[name];
      return found;
    };
    this.event = part("e");
    this.gap = part("g");
    this.other = part("h");
    this.truth = part("t");
    this.copied = part("c");
    this.density = columns.density;
    this.strings = strings;
    this.tids = columns.thread_tid;
    this.size = this.gap.gap.length;
    this.numbers = new Map(Array.from(this.gap.gap, (number, i) => [number, i]));
    this.time = (e) => this.event.time[e];
    this.inferred = count(this.event.gap.length).filter((e) => this.event.gap[e] >= 0);
    this.ofGap = grouped(this.inferred, (e) => this.numbers.get(this.event.gap[e]) ?? -1, this.size);
    this.fieldStart = starts(this.event.fields);
    this.cpus = this._cpus();
  }

  // Events and gaps of each cpu, those of no cpu (-1) last.
  _cpus() {
    const cpus = [...new Set([...distinct(this.event.cpu), ...distinct(this.gap.cpu), ...this.counted])];
    cpus.sort((a, b) => a - b);
    if (cpus[0] === -1) cpus.push(cpus.shift());
    const place = new Map(cpus.map((cpu, i) => [cpu, i]));
    let cpu = NaN, last = -1; // mostly the same as before
    const placed = (e) => (this.event.cpu[e] === cpu ? last : (last = place.get((cpu = this.event.cpu[e]))));
    const events = grouped(count(this.event.cpu.length), placed, cpus.length);
    const order = count(this.size).sort((g, h) => this.gap.begin[g] - this.gap.begin[h]);
    const gaps = grouped(order, (g) => place.get(this.gap.cpu[g]), cpus.length);
    return cpus.map((cpu, i) => ({ cpu, events: this.ordered(events(i)), gaps: this.gapsOf(gaps(i)) }));
  }

  // Events of a lane: all, and those that were recorded and inferred by themselves, with the inferred ones'
  // confidence summed up.
  ordered(all) {
    const { gap } = this.event;
    const recorded = new Int32Array(all.length), inferred = new Int32Array(all.length);
    let r = 0, n = 0;
    for (const e of all) {
      if (gap[e] < 0) recorded[r++] = e;
      else inferred[n++] = e;
    }
    const sure = new Float64Array(n + 1);
    for (let i = 0; i < n; i++) sure[i + 1] = sure[i] + this.event.sure[inferred[i]] / 10000;
    return { all, recorded: recorded.slice(0, r), inferred: inferred.slice(0, n), sure };
  }

  gapsOf(all) {
    const ends = new Float64Array(all.length); // of this one and all before: they may overlap
    for (let i = 0; i < all.length; i++) ends[i] = Math.max(i ? ends[i - 1] : 0, this.gap.end[all[i]]);
    return { all, ends };
  }

  // Threads with events in a list, by appearance: what each is called, and its events.
  threads(events) {
    const { thread } = this.event;
    const tids = new Map();
    const lanes = Int32Array.from(this.tids, () => -1);
    for (const e of events) {
      if (lanes[thread[e]] >= 0) continue;
      const tid = this.tids[thread[e]];
      if (!tids.has(tid)) tids.set(tid, tids.size);
      lanes[thread[e]] = tids.get(tid);
    }
    const own = grouped(events, (e) => lanes[thread[e]], tids.size);
    return [...tids.keys()].map((tid, i) => ({ tid, events: this.ordered(own(i)) }));
  }

  // Of each event that enters a call the one that leaves it, -1 where the thread's next call event is no such one.
  get leaving() {
    if (this._leaving) return this._leaving;
    const { phase, name, thread } = this.event;
    const leaving = new Int32Array(phase.length).fill(-1);
    const open = new Map(); // threads by their ids, numbered
    const own = Int32Array.from(this.tids, (tid) => open.get(tid) ?? (open.set(tid, open.size), open.size - 1));
    const entered = new Int32Array(open.size).fill(-1); // by thread
    for (let e = 0; e < phase.length && !this.nested; e++) {
      if (phase[e] === 2 || this.tids[thread[e]] < 0) continue;
      const t = own[thread[e]];
      if (phase[e] === 1 && entered[t] >= 0 && name[entered[t]] === name[e]) leaving[entered[t]] = e;
      entered[t] = phase[e] === 0 ? e : -1;
    }
    this._left = new Uint8Array(phase.length);
    for (const e of leaving) if (e >= 0) this._left[e] = 1;
    return (this._leaving = leaving);
  }

  // Whether an event leaves a call that is drawn from its begin on.
  left(e) {
    return this.leaving && this._left[e] === 1;
  }

  // How many of a gap's inferred events are probably not what happened at their place, by their confidence; -1 of a gap
  // that stays open: nothing was inferred that could be right or not.
  likelyNotRight(g) {
    const { events, sure, status } = this.gap;
    return status[g] ? -1 : events[g] * (1 - Math.max(0, sure[g]) / 10000);
  }

  // How many events a gap lost by an estimate, where one is known: not of a fill that was refused.
  estimate(g) {
    const { events, estimated, status } = this.gap;
    return estimated[g] && status[g] !== 1 ? events[g] : undefined;
  }

  eventsOf(g) {
    return this.ofGap(g);
  }

  // Recorded events of a gap's cpu before it and behind it, up to so many on each side.
  around(g, most) {
    const lane = this.cpus.find((c) => c.cpu === this.gap.cpu[g])?.events.recorded ?? [];
    const own = (e) => e;
    const { before, after } = this.gap;
    const end = before[g] < 0 ? 0 : bisect(lane, before[g], own) + 1;
    const begin = after[g] < 0 ? lane.length : bisect(lane, after[g], own);
    return [lane.slice(Math.max(0, end - most), end), lane.slice(begin, begin + most)];
  }

  // What is known of an inferred event's fields: names, values and confidence.
  fields(e) {
    const i = bisect(this.inferred, e);
    const { field, value, known } = this.event;
    const found = [];
    for (let k = this.fieldStart[i]; k < this.fieldStart[i + 1]; k++)
      found.push([this.strings.values[field[k]], this.strings.values[value[k]], known[k] / 10000]);
    return found;
  }

  // Fills of a gap that were drawn: of each the places of its events.
  alternatives(g) {
    this._others ??= this._grouped(this.other);
    const kinds = [];
    for (const i of this._others(g)) (kinds[this.other.hypothesis[i]] ??= []).push(i);
    return kinds;
  }

  // Parts of a gap's fill that stand in other recordings: their places in `copied`.
  copiedOf(g) {
    this._copied ??= this._grouped(this.copied);
    return this._copied(g);
  }

  // What a gap really lost: the places of its events in `truth`.
  lost(g) {
    this._truth ??= this._grouped(this.truth);
    return this._truth(g);
  }

  // A gap's fill against what was really lost: of each inferred event, and of each lost one, whether it is right (0: the
  // same event at the same place), shifted (1: it happened, but at another place), or not (2: not there, missing). Who did
  // it doesn't count.
  judged(g) {
    const fill = this.eventsOf(g), lost = this.lost(g);
    const inferred = Array.from(fill, (e) => this.event.name[e] * 3 + this.event.phase[e]);
    const really = Array.from(lost, (i) => this.truth.name[i] * 3 + this.truth.phase[i]);
    const told = inferred.map((kind, i) => (kind === really[i] ? 0 : 2));
    const been = really.map((kind, i) => (kind === inferred[i] ? 0 : 2));
    const free = new Map(); // places of lost events that aren't matched, by kind
    been.forEach((how, i) => how && (free.get(really[i]) ?? free.set(really[i], []).get(really[i])).push(i));
    for (let i = 0; i < told.length; i++) {
      const at = told[i] && free.get(inferred[i])?.shift();
      if (told[i] && at !== undefined) told[i] = been[at] = 1;
    }
    return { told, been };
  }

  _grouped(part) {
    const length = part.gap?.length ?? 0;
    return grouped(count(length), (i) => this.numbers.get(part.gap[i]) ?? -1, this.size);
  }
}

function count(n) {
  const found = new Int32Array(n);
  for (let i = 0; i < n; i++) found[i] = i;
  return found;
}

function distinct(values) {
  const found = new Set();
  let last = NaN;
  for (const value of values) if (value !== last) found.add((last = value));
  return found;
}

// Where each one's part begins of what lies one behind the other.
function starts(lengths) {
  const found = new Int32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) found[i + 1] = found[i] + lengths[i];
  return found;
}

// Items by their groups (0 to n - 1; -1 has none), as they stand: a function from a group to its items.
function grouped(items, groupOf, n) {
  const lengths = new Int32Array(n);
  const groups = new Int32Array(items.length);
  for (let i = 0; i < items.length; i++) {
    groups[i] = groupOf(items[i]);
    if (groups[i] >= 0) lengths[groups[i]]++;
  }
  const begin = starts(lengths);
  const next = begin.slice();
  const held = new Int32Array(begin[n]);
  for (let i = 0; i < items.length; i++) if (groups[i] >= 0) held[next[groups[i]]++] = items[i];
  return (group) => held.subarray(begin[group], begin[group + 1]);
}
