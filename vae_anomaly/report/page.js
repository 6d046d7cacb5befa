"use strict";

// Tables: a click on a header sorts by its column, ascending and then descending. A tbody is a row with its reasons.
function valueOf(body, column) {
  const cell = body.rows[0].cells[column];
  const given = cell.dataset.value;
  if (given === undefined) return cell.textContent.trim();
  return given === "" ? null : Number(given);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, column) {
  const headers = [...table.tHead.rows[0].cells];
  const ascending = headers[column].getAttribute("aria-sort") !== "ascending";
  const keyed = [...table.tBodies].map((body) => [valueOf(body, column), body]);
  const isEmpty = (value) => value === null || value === "";
  keyed.sort(([a], [b]) => {
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);
    return ascending ? compare(a, b) : compare(b, a);
  });
  headers.forEach((header) => header.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  table.append(...keyed.map(([, body]) => body));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button")?.addEventListener("click", () => sortBy(table, column));
  });
}

// The most anomalous rows: a click on a row, or Enter on its button, opens and closes its reasons.
const rows = document.getElementById("rows");
const bodies = [...rows.tBodies];
const filter = document.getElementById("filter");
const shown = document.getElementById("shown");

function open(body, wanted) {
  body.querySelector("button").setAttribute("aria-expanded", String(wanted));
  body.rows[1].hidden = !wanted;
}

rows.addEventListener("click", (event) => {
  const line = event.target.closest("tr.row");
  if (!line || !document.getSelection().isCollapsed) return;
  const body = line.parentElement;
  open(body, body.rows[1].hidden);
});

// The filter: rows that contain the text.
const texts = new Map(bodies.map((body) => [body, body.rows[0].textContent.toLowerCase()]));

function applyFilter() {
  const wanted = filter.value.trim().toLowerCase();
  for (const body of bodies) body.hidden = !texts.get(body).includes(wanted);
  const count = bodies.filter((body) => !body.hidden).length;
  shown.textContent = wanted === "" ? shown.dataset.all : `${count} of ${bodies.length} rows contain this text`;
}

filter.addEventListener("input", applyFilter);

// A click on the map and a link to a row scroll to the row and open it.
function show(row) {
  const body = document.getElementById(`row-${row}`);
  if (!body) return;
  if (body.hidden) {
    filter.value = "";
    applyFilter();
  }
  open(body, true);
  body.scrollIntoView({ block: "center" });
  body.querySelector("button").focus({ preventScroll: true });
}

document.getElementById("map").addEventListener("click", (event) => {
  const mark = event.target.closest("[data-row]");
  if (mark) show(mark.dataset.row);
});

function showHash() {
  const found = /^#row-(\d+)$/.exec(location.hash);
  if (found) show(found[1]);
}

window.addEventListener("hashchange", showHash);
showHash();
