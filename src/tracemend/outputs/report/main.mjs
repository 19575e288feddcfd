// The page: unpacks the data, and holds timeline, list and detail together.
import { Model, unpack } from "./data.mjs";
import { Detail } from "./detail.mjs";
import { List } from "./list.mjs";
import { Timeline } from "./timeline.mjs";
import { Clock, make } from "./words.mjs";

async function open(data) {
  performance.mark("begun");
  const told = await unpack(data.textContent);
  performance.mark("unpacked");
  const model = new Model(told);
  performance.mark("indexed");
  data.remove();
  const clock = new Clock(model);
  const bench = document.getElementById("bench");
  bench.hidden = false;
  const choose = (g, near = true) => {
    history.replaceState(null, "", `#gap-${model.gap.gap[g]}`);
    timeline.mark(g);
    if (near) timeline.to(g);
    list.mark(g);
    detail.show(g);
  };
  const timeline = new Timeline(model, clock, (g) => choose(g, false));
  const list = new List(model, clock, choose);
  const detail = new Detail(model, clock, {
    point: (e) => timeline.point(e),
    visit: (e, length) => timeline.visit(e, length),
  });
  const linked = () => {
    const number = /^#gap-(\d+)$/.exec(location.hash);
    const g = number ? model.numbers.get(Number(number[1])) : undefined;
    if (g === undefined) return false;
    choose(g);
    bench.scrollIntoView();
    return true;
  };
  legend();
  keys(timeline, list);
  for (const query of ["screen and (prefers-color-scheme: dark)", `(resolution: ${devicePixelRatio}dppx)`])
    matchMedia(query).addEventListener("change", () => timeline.style());
  addEventListener("beforeprint", () => list.print(true));
  addEventListener("afterprint", () => list.print(false));
  addEventListener("hashchange", linked);
  if (!linked()) {
    const worst = list.order[0];
    detail.show(worst);
    list.mark(worst);
    timeline.mark(worst);
  }
  requestAnimationFrame(() => {
    performance.mark("drawn");
    document.documentElement.dataset.drawn = "true";
  });
}

function legend() {
  const kinds = [
    ["recorded", "recorded"],
    ["inferred", "inferred: the fainter the less sure"],
    ["lost", "lost, filled"],
    ["open", "lost, left open"],
  ];
  document.getElementById("legend").append(...kinds.map(([key, told]) => make("span", {}, make("i", { class: `key ${key}`, "aria-hidden": "true" }), told)));
}

function keys(timeline, list) {
  const by = (id) => document.getElementById(id);
  const help = (hidden) => {
    by("help").hidden = hidden;
    by("keys").setAttribute("aria-expanded", String(!hidden));
  };
  const turn = () => help(!by("help").hidden);
  const gap = () => timeline.chosen >= 0 && timeline.to(timeline.chosen);
  const acts = {
    w: () => timeline.zoom(0.6),
    s: () => timeline.zoom(1 / 0.6),
    a: () => timeline.pan(-0.25),
    d: () => timeline.pan(0.25),
    n: () => list.step(1),
    j: () => list.step(1),
    p: () => list.step(-1),
    k: () => list.step(-1),
    f: gap,
    0: () => timeline.whole(),
    t: () => by("thread").focus(),
    "/": () => by("search").focus(),
    "?": turn,
    Escape: () => {
      help(true);
      by("tip").hidden = true;
    },
  };
  const buttons = { in: acts.w, out: acts.s, fit: gap, whole: acts[0], keys: turn, next: acts.n, previous: acts.p };
  for (const [id, act] of Object.entries(buttons)) by(id).addEventListener("click", act);
  // Out of what is typed in, which is emptied if it is a search.
  const leave = ({ key, target }) => {
    if (key !== "Escape") return;
    if (target.type === "search" && target.value) {
      target.value = "";
      target.dispatchEvent(new Event("input", { bubbles: true }));
    }
    target.blur();
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT)$/.test(event.target.tagName)) return leave(event);
    const inside = event.target.closest?.("#lanes, #rows")?.id;
    const arrows = { lanes: { ArrowLeft: "a", ArrowRight: "d", ArrowUp: "w", ArrowDown: "s" }, rows: { ArrowUp: "k", ArrowDown: "j" } };
    const act = acts[arrows[inside]?.[event.key] ?? event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

const data = document.getElementById("data");
if (data) open(data);
