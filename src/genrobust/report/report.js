"use strict";
// Sort a table by a clicked heading, and the other way at the next click. Gaps stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const first = column === 0 ? "ascending" : "descending"; // names from A, numbers from the highest
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    head.querySelector("button").addEventListener("click", () => {
      const order = head.ariaSort === first ? (column === 0 ? "descending" : "ascending") : first;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (column === 0 || isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
      });
      for (const other of heads) other.ariaSort = "none";
      head.ariaSort = order;
      table.tBodies[0].append(...rows);
    });
  });
}
