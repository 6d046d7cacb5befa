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
const show = document.getElementById("show");
const shown = document.getElementById("shown");

function open(body, wanted) {
  body.querySelector("button").setAttribute("aria-expanded", String(wanted));
  body.rows[1].hidden = !wanted;
}

rows.addEventListener("click", (event) => {
  const line = event.target.closest("tr.row");
  if (!line || event.target.closest("select") || !document.getSelection().isCollapsed) return;
  const body = line.parentElement;
  open(body, body.rows[1].hidden);
});

// Which rows are shown: those that contain the text; without one, those of the choice.
const texts = new Map(bodies.map((body) => [body, body.rows[0].textContent.toLowerCase()]));

function isChosen(data) {
  if (show.value === "all") return true;
  if (data.flagged === "0") return false;
  if (show.value === "flagged") return true;
  return show.value === "few" ? data.repeats === "0" : data.pattern === show.value;
}

function refresh() {
  const wanted = filter.value.trim().toLowerCase();
  for (const body of bodies) body.hidden = !(wanted ? texts.get(body).includes(wanted) : isChosen(body.dataset));
  const count = bodies.filter((body) => !body.hidden).length;
  shown.textContent = `${count} of ${bodies.length} ${shown.dataset.nouns} ${wanted ? "contain this text" : "are shown"}`;
}

filter.addEventListener("input", refresh);
show.addEventListener("change", refresh);
refresh();

for (const button of document.querySelectorAll("button[data-pattern]")) {
  button.addEventListener("click", () => {
    filter.value = "";
    show.value = button.dataset.pattern;
    refresh();
    document.getElementById("most-anomalous").scrollIntoView();
    show.focus({ preventScroll: true });
  });
}

// Verdicts: kept by the browser under the key of this page, and in the page alone where it may keep nothing.
const key = `vae-anomaly:${document.body.dataset.key}`;
const judges = [...document.querySelectorAll("select.judge")];
const judged = document.getElementById("judged");
const verdicts = new Map();

function kept() {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? [];
  } catch {
    return [];
  }
}

function showVerdicts() {
  for (const judge of judges) {
    const found = new Set(judge.dataset.rows.split(",").map((row) => verdicts.get(Number(row)) ?? ""));
    judge.value = found.size === 1 ? [...found][0] : "";
  }
  judged.textContent = verdicts.size ? `${verdicts.size} ${shown.dataset.nouns} judged` : "";
}

for (const [row, verdict] of kept()) verdicts.set(row, verdict);
showVerdicts();

document.addEventListener("change", (event) => {
  const judge = event.target.closest("select.judge");
  if (!judge) return;
  for (const row of judge.dataset.rows.split(",").map(Number)) {
    if (judge.value) verdicts.set(row, judge.value);
    else verdicts.delete(row);
  }
  showVerdicts();
  try {
    localStorage.setItem(key, JSON.stringify([...verdicts]));
  } catch {
    judged.textContent += "; the browser does not keep them: download them before you close the page";
  }
});

// Downloads: the rows as they are in the page, and the verdicts.
function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

const BYTE_ORDER_MARK = "\ufeff"; // spreadsheets take the text for UTF-8
document.getElementById("rows-csv")?.addEventListener("click", () => {
  download("anomalous-rows.csv", BYTE_ORDER_MARK + document.getElementById("csv").content.textContent);
});
document.getElementById("verdicts-csv").addEventListener("click", () => {
  const lines = [...verdicts].sort(([a], [b]) => a - b).map(([row, verdict]) => `${row},${verdict}\n`);
  download("verdicts.csv", `row,verdict\n${lines.join("")}`);
});

// A click on the map and a link to a row scroll to the row and open it.
function reveal(row) {
  const body = document.getElementById(`row-${row}`);
  if (!body) return;
  if (body.hidden) {
    filter.value = "";
    show.value = "all";
    refresh();
  }
  open(body, true);
  body.scrollIntoView({ block: "center" });
  body.querySelector("button").focus({ preventScroll: true });
}

document.getElementById("map")?.addEventListener("click", (event) => {
  const mark = event.target.closest("[data-row]");
  if (mark) reveal(mark.dataset.row);
});

function showHash() {
  const found = /^#row-(\d+)$/.exec(location.hash);
  if (found) reveal(found[1]);
}

window.addEventListener("hashchange", showHash);
showHash();
