"use strict";
// A click on a column heading, or Enter, sorts the table by that column; the next one reverses the order.
const sortBy = (table, column, order) => {
  const headers = [...table.tHead.rows[0].cells];
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  headers.forEach((other) => other.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", order);
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => sign * compare(value(a), value(b))));
};
const sortable = [...document.querySelectorAll("table.sortable")];
for (const table of sortable) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      sortBy(table, column, header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
  });
}

// While a run is at work the page reloads itself, and then looks as the reader left it. A file may not be fetched by
// a page that is a file, so it is loaded as a whole; nothing else is asked for.
const key = `look ${location.pathname}`;
const boxes = () => [...document.querySelectorAll(".scroll")];
const focusable = () => [...document.querySelectorAll("a, button, .scroll")];
const save = () => {
  const look = {
    at: Date.now(),
    page: [scrollX, scrollY],
    boxes: boxes().map((box) => [box.scrollLeft, box.scrollTop]),
    open: [...document.querySelectorAll("details")].map((one) => one.open),
    focus: focusable().indexOf(document.activeElement),
    sorted: sortable.map((table) => {
      const headers = [...table.tHead.rows[0].cells];
      const column = headers.findIndex((header) => header.hasAttribute("aria-sort"));
      return [column, column < 0 ? "" : headers[column].getAttribute("aria-sort")];
    }),
  };
  history.scrollRestoration = "manual";
  sessionStorage.setItem(key, JSON.stringify(look));
};
const restore = () => {
  const look = JSON.parse(sessionStorage.getItem(key));
  sessionStorage.removeItem(key);
  if (!look) return;
  sortable.forEach((table, place) => {
    const [column, order] = look.sorted[place] ?? [-1];
    if (column >= 0) sortBy(table, column, order);
  });
  document.querySelectorAll("details").forEach((one, place) => { one.open = look.open[place] ?? one.open; });
  boxes().forEach((box, place) => box.scrollTo(...(look.boxes[place] ?? [0, 0])));
  focusable()[look.focus]?.focus({ preventScroll: true });
  scrollTo(...look.page);
  // Not before all is loaded, or the browser would restore what it takes for the position.
  addEventListener("load", () => setTimeout(() => { history.scrollRestoration = "auto"; }));
};
// Where the browser keeps nothing for a page that is a file, it still restores the scroll position by itself.
const attempt = (work) => { try { work(); } catch { history.scrollRestoration = "auto"; } };
attempt(restore);

const everyS = Number(document.body.dataset.reloadS);
if (everyS) {
  const written = Number(document.body.dataset.writtenMs);
  const loaded = Date.now();
  let pressed = false;
  addEventListener("pointerdown", () => { pressed = true; });
  for (const kind of ["pointerup", "pointercancel", "blur"]) addEventListener(kind, () => { pressed = false; });
  setInterval(() => {
    const ageS = (Date.now() - written) / 1000;
    const old = ageS > Math.max(60, 5 * everyS);
    document.getElementById("old").hidden = !old;
    const waitS = old ? Math.max(everyS, ageS / 4) : everyS;
    const busy = document.hidden || pressed || !getSelection().isCollapsed;
    if (busy || Date.now() - loaded < waitS * 1000) return;
    attempt(save);
    location.reload();
  }, 500);
}
