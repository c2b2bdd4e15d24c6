"use strict";
// Sort a table by a clicked heading: first the highest on top, then the lowest, figures before gaps.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = head.ariaSort !== "descending";
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const numeric = (text) => (text === "" ? (descending ? -Infinity : Infinity) : Number(text));
      const rows = [...table.tBodies[0].rows].sort((a, b) =>
        column === 0 ? key(a).localeCompare(key(b)) : numeric(key(a)) - numeric(key(b)));
      if (descending === (column !== 0)) rows.reverse();
      heads.forEach((other) => { other.ariaSort = "none"; });
      head.ariaSort = descending ? "descending" : "ascending";
      table.tBodies[0].append(...rows);
    });
  });
}

// Show one style of the gallery, or all.
const filter = document.querySelector(".filter");
if (filter) {
  filter.hidden = false;
  filter.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    for (const button of filter.querySelectorAll("button")) button.ariaPressed = String(button === chosen);
    for (const figure of document.querySelectorAll(".thumb")) {
      figure.hidden = "style" in chosen.dataset && figure.dataset.style !== chosen.dataset.style;
    }
  });
}
