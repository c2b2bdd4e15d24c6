"use strict";
const element = (tag, text = "", attributes = {}) => Object.assign(document.createElement(tag), { textContent: text }, attributes);

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

// Show one style of the gallery, or all, and what has a text in its name. Without this script all are shown.
const filter = document.querySelector(".filter");
if (filter) {
  filter.hidden = false;
  filter.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    for (const button of filter.querySelectorAll("button")) button.ariaPressed = String(button === chosen);
    for (const figure of document.querySelectorAll(".thumb[data-style]")) {
      figure.hidden = "style" in chosen.dataset && figure.dataset.style !== chosen.dataset.style;
    }
  });
}
const find = document.querySelector(".find");
if (find) {
  find.hidden = false;
  const more = document.querySelector(".more-classes");
  find.addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    if (more && wanted) more.open = true;
    for (const part of document.querySelectorAll("[data-find]")) {
      part.hidden = !part.dataset.find.toLowerCase().includes(wanted);
    }
  });
}

// Any arm minus any other, by test set, from what the page holds.
const signed = (value) => (Number(value.toFixed(1)) > 0 ? "+" : "") + plain(value);
const plain = (value) => (Number(value.toFixed(1)) || 0).toFixed(1).replace("-", "\u2212");
const pair = document.querySelector(".chooser");
if (pair) {
  const { arms, tests, pairs } = JSON.parse(pair.dataset.pairs);
  const [arm, other] = pair.querySelectorAll("select");
  for (const select of [arm, other]) arms.forEach((name, i) => select.add(new Option(name, i)));
  arm.value = 1;
  other.value = 0;
  const difference = (a, b, test) => {
    const found = pairs[a < b ? `${a},${b}` : `${b},${a}`]?.[test];
    return found && (a < b ? found : [-found[0], -found[2], -found[1]]);
  };
  const show = () => {
    const [a, b] = [Number(arm.value), Number(other.value)];
    const title = `${arms[a]} minus ${arms[b]}`;
    pair.querySelector("caption").textContent = a === b ? "Choose two different arms." : `${title}, top-1 accuracy`;
    const rows = (a === b ? [] : tests).map((test, i) => {
      const row = element("tr");
      const found = difference(a, b, i);
      row.append(element("th", test, { scope: "row" }));
      if (found) row.className = found[1] > 0 || found[2] < 0 ? "" : "muted";
      row.append(element("td", found ? signed(found[0]) : "\u2013"));
      row.append(element("td", found ? `${signed(found[1])} to ${signed(found[2])}` : ""));
      return row;
    });
    pair.querySelector("tbody").replaceChildren(...rows);
  };
  pair.addEventListener("change", show);
  show();
  pair.hidden = false;
}
