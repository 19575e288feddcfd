"use strict";
// A link to a gap opens it.
function show() {
  const gap = document.getElementById(location.hash.slice(1));
  if (gap instanceof HTMLDetailsElement) {
    gap.open = true;
    gap.scrollIntoView();
  }
}
addEventListener("hashchange", show);
show();
const all = document.getElementById("all");
if (all) {
  all.hidden = false;
  all.addEventListener("click", () => {
    const shut = document.querySelectorAll("details.gap:not([open])").length > 0;
    document.querySelectorAll("details.gap").forEach((gap) => { gap.open = shut; });
    all.textContent = shut ? "Close all" : "Open all";
  });
}
