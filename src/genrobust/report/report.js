"use strict";
const element = (tag, text = "", attributes = {}) => Object.assign(document.createElement(tag), { textContent: text }, attributes);

// Sort a table by a clicked heading, and the other way at the next click. Gaps stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const first = column === 0 ? "ascending" : "descending"; // names from A, figures from the highest
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

// Any arm minus any other, by test set and by class, from what the page holds.
const signed = (value) => (Number(value.toFixed(1)) > 0 ? "+" : "") + plain(value);
const plain = (value) => (Number(value.toFixed(1)) || 0).toFixed(1).replace("-", "\u2212");
const pair = document.querySelector(".chooser");
if (pair) {
  const { arms, tests, pairs } = JSON.parse(pair.dataset.pairs);
  const [arm, other] = pair.querySelectorAll("select");
  for (const select of [arm, other]) arms.forEach((name, i) => select.add(new Option(name, i)));
  const byClass = document.querySelector(".by-class");
  const classes = byClass && JSON.parse(byClass.dataset.classes);
  arm.value = classes ? classes.arm : 1;
  other.value = classes ? classes.other : 0;
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
  const showClasses = () => {
    const [a, b] = [Number(arm.value), Number(other.value)];
    const rows = classes.classes.flatMap((name, i) => {
      const [ours, theirs] = [classes.top1[a][i], classes.top1[b][i]];
      return ours === null || theirs === null ? [] : [{ name, size: classes.sizes[i], ours, theirs, gain: ours - theirs }];
    });
    rows.sort((x, y) => y.gain - x.gain);
    byClass.tBodies[0].replaceChildren(
      ...rows.map(({ name, size, ours, theirs, gain }) => {
        const [row, gained] = [element("tr"), element("td", signed(gain))];
        gained.dataset.value = gain;
        row.append(element("th", name, { scope: "row" }), element("td", size), gained);
        row.append(element("td", plain(ours)), element("td", plain(theirs)));
        return row;
      }),
    );
    const heads = byClass.tHead.rows[0].cells;
    for (const head of heads) head.ariaSort = "none";
    [heads[3], heads[4]].forEach((head, i) => (head.firstChild.textContent = arms[[a, b][i]]));
    byClass.caption.textContent = `${arms[a]} minus ${arms[b]}, points`;
    document.querySelector(".pair-name").textContent = `${arms[a]} minus ${arms[b]}`;
    const count = (test) => rows.filter(({ gain }) => test(gain)).length;
    document.querySelector(".class-gains").textContent =
      `${arms[a]} is better on ${count((gain) => gain > 0)} of ${rows.length} classes and worse on ${count((gain) => gain < 0)}.`;
  };
  pair.addEventListener("change", () => {
    show();
    if (classes) showClasses();
  });
  show();
  pair.hidden = false;
}

// Save a figure as SVG or PNG, as it looks here. Everything is drawn from the page: nothing is loaded.
const SVG = "http://www.w3.org/2000/svg";
const LOOKS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "opacity", "fill-opacity", "font-family", "font-size", "font-weight"];
const shape = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const styled = (from, to) => {
  const style = getComputedStyle(from);
  for (const look of LOOKS) to.setAttribute(look, style.getPropertyValue(look));
  to.removeAttribute("class");
  [...from.children].forEach((child, i) => styled(child, to.children[i]));
  return to;
};
const MARGIN = 16; // about a saved figure, and between it and its legend
const drawn = (figure) => {
  const legend = figure.querySelector(".legend") ? null : figure.closest("section").querySelector(".legend");
  const svg = shape("svg", { xmlns: SVG });
  const paper = svg.appendChild(shape("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor }));
  const word = (found, node, left, top) => {
    const range = document.createRange();
    range.setStart(node, found.index);
    range.setEnd(node, found.index + found[0].length);
    const [place, style] = [range.getBoundingClientRect(), getComputedStyle(node.parentElement)];
    if (!place.width) return;
    const text = shape("text", { x: place.left + left, y: place.bottom + top - 0.24 * place.height, fill: style.color });
    for (const look of LOOKS.slice(-3)) text.setAttribute(look, style.getPropertyValue(look));
    text.textContent = found[0];
    svg.append(text);
  };
  const walk = (node, left, top) => {
    if (node.nodeType === Node.TEXT_NODE) {
      for (const found of node.data.matchAll(/\S+/g)) word(found, node, left, top);
    } else if (node.nodeType === Node.ELEMENT_NODE && !node.matches(".save, .hidden")) {
      const [place, style] = [node.getBoundingClientRect(), getComputedStyle(node)];
      if (!place.width) return;
      const at = { x: place.left + left, y: place.top + top, width: place.width, height: place.height };
      if (node.matches("svg")) {
        const copy = styled(node, node.cloneNode(true));
        for (const [key, value] of Object.entries({ ...at, overflow: "visible" })) copy.setAttribute(key, value);
        svg.append(copy);
        return;
      }
      if (style.backgroundColor !== "rgba(0, 0, 0, 0)") {
        const round = Math.min(parseFloat(style.borderTopLeftRadius) || 0, at.width / 2);
        svg.append(shape("rect", { ...at, rx: round, fill: style.backgroundColor, opacity: style.opacity }));
      }
      node.childNodes.forEach((child) => walk(child, left, top));
    }
  };
  let [width, height] = [0, MARGIN];
  for (const part of [figure, legend]) {
    if (!part) continue;
    const bounds = part.getBoundingClientRect();
    walk(part, MARGIN - bounds.left, height - bounds.top);
    width = Math.max(width, Math.ceil(bounds.width) + 2 * MARGIN);
    height += Math.ceil(bounds.height) + MARGIN;
  }
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(key, value);
  for (const [key, value] of Object.entries({ width, height })) paper.setAttribute(key, value);
  return { text: new XMLSerializer().serializeToString(svg), width, height };
};
const download = (blob, name) => {
  const link = element("a", "", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const SAVE = {
  SVG: (figure, name) => download(new Blob([drawn(figure).text], { type: "image/svg+xml" }), `${name}.svg`),
  PNG: (figure, name) => {
    const { text, width, height } = drawn(figure);
    const image = new Image();
    image.addEventListener("load", () => {
      const canvas = element("canvas", "", { width: 2 * width, height: 2 * height });
      canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
      canvas.toBlob((blob) => download(blob, `${name}.png`));
    });
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  },
};
for (const figure of document.querySelectorAll(".savable")) {
  const name = figure.dataset.name.replace(/[^\w.+-]+/g, "-");
  const bar = element("div", "", { className: "save" });
  for (const [kind, save] of Object.entries(SAVE)) {
    const button = element("button", kind, { type: "button", ariaLabel: `Save ${figure.dataset.name} as ${kind}` });
    button.addEventListener("click", () => save(figure, name));
    bar.append(button);
  }
  figure.append(bar);
}
