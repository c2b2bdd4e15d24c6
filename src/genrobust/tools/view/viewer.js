// The page on which a person reviews images. All that comes from the server is set as text or as a property.
const find = (selector) => document.querySelector(selector);
const [grid, panel, form] = [".tiles", ".chosen", ".controls"].map(find);
const total = find(".counts").textContent;
const reasons = [...document.querySelectorAll("[data-reason]")].map((button) => button.dataset.reason).filter(Boolean);
const undone = []; // images with the reason that each had before its decision, the last at the end
let [images, start, count, current] = [[], 0, 0, 0];
let [asked, saved] = [0, Promise.resolve()]; // decisions are saved one after another

const state = (reason) => (reason === null ? "unreviewed" : reason ? "rejected" : "accepted");
const alarm = (text) => (find(".alert").textContent = text);
const answer = async (path, options) => {
  const response = await fetch(path, options).catch(() => null);
  if (!response) throw Error("genrobust view no longer runs: start it again; what was decided before is saved");
  if (!response.ok) throw Error(await response.text());
  return response.json();
};
const showCounts = ({ accepted, rejected }) =>
  (find(".counts").textContent = `${total}, ${accepted.toLocaleString("en")} accepted, ${rejected.toLocaleString("en")} rejected`);

const mark = (image) => {
  image.tile.className = `tile ${state(image.reason)}`;
  image.tile.title = image.reason ?? "";
  image.tile.lastChild.textContent = { unreviewed: "", accepted: "✓ ", rejected: "✗ " }[state(image.reason)] + image.class;
};
const tile = (image, place) => {
  const [made, picture, label] = ["div", "img", "span"].map((name) => document.createElement(name));
  made.role = "option";
  made.tabIndex = -1;
  made.ariaSelected = "false";
  Object.assign(picture, { loading: "lazy", decoding: "async", src: `thumbnails/${image.index}` });
  picture.alt = [image.class, image.style].filter(Boolean).join(", ");
  picture.addEventListener("load", () => picture.classList.toggle("small-image", picture.naturalWidth < 128));
  label.className = "mark-of";
  made.append(picture, label);
  made.addEventListener("focus", () => place === current || show(place));
  made.addEventListener("click", () => go(place));
  image.tile = made;
  mark(image);
  return made;
};
const words = (value) => (typeof value === "number" ? value.toPrecision(3) : value ?? "–");
const show = (place) => {
  const [before, image] = [images[current], images[place]];
  if (before) Object.assign(before.tile, { tabIndex: -1, ariaSelected: "false" });
  Object.assign(image.tile, { tabIndex: 0, ariaSelected: "true" });
  current = place;
  Object.assign(find(".large"), { src: `images/${image.index}`, alt: image.tile.firstChild.alt });
  panel.querySelector("h2").textContent = image.key;
  find(".prompt").textContent = image.prompt;
  const facts = Object.entries({ class: image.class, style: image.style, ...image.facts }).filter(([, value]) => value !== "");
  panel.querySelector("dl").replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const [term, text] = ["dt", "dd"].map((kind) => document.createElement(kind));
      [term.textContent, text.textContent] = [name, words(value)];
      return [term, text];
    }),
  );
  press();
};
const go = (place) => {
  show(place);
  images[place].tile.focus();
};
const press = () => {
  for (const button of document.querySelectorAll("[data-reason]")) button.ariaPressed = String(button.dataset.reason === images[current].reason);
  find(".undo").disabled = !undone.length;
};

const load = async (from, focused = 0) => {
  await saved; // which may change what the server finds
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  if (from) query.set("start", from);
  const mine = ++asked;
  const found = await answer(`images?${query}`).catch((error) => alarm(error.message));
  if (!found || mine !== asked) return; // another page was asked for meanwhile
  ({ images, start } = found);
  [count, current] = [found.total, 0];
  alarm("");
  if (found.counts) showCounts(found.counts);
  grid.replaceChildren(...images.map(tile));
  grid.hidden = panel.hidden = !images.length;
  find(".none").hidden = Boolean(images.length);
  find(".range").textContent = images.length ? `${(start + 1).toLocaleString("en")}–${(start + images.length).toLocaleString("en")} of ${count.toLocaleString("en")}` : "";
  find(".previous").disabled = !start;
  find(".next").disabled = start + images.length >= count;
  if (!images.length) return;
  if (!focused) scrollTo(0, 0);
  if (focused === null) show(0);
  else go(focused < 0 ? images.length - 1 : focused);
};
// Decided images may no longer be among those that are asked for: the next page begins that much earlier.
const next = () => {
  const wanted = form.elements.state.value;
  const gone = wanted ? images.filter(({ reason }) => state(reason) !== wanted).length : 0;
  if (start + images.length < count) load(start + images.length - gone);
};
const previous = (focused = 0) => start && load(Math.max(0, start - grid.dataset.page), focused);
const move = (by) => {
  const place = current + by;
  if (place < 0) previous(-1);
  else if (place >= images.length) next();
  else go(place);
};
const columns = () => Math.max(1, images.findIndex(({ tile }) => tile.offsetTop > images[0].tile.offsetTop)) || images.length;

const save = (image, reason) => {
  const before = image.reason;
  image.reason = reason;
  mark(image);
  const query = reason === null ? "" : `?${new URLSearchParams({ reason })}`;
  saved = saved
    .then(() => answer(`decisions/${image.index}${query}`, { method: "POST" }))
    .then(showCounts)
    .catch((error) => {
      image.reason = before;
      mark(image);
      alarm(`${image.key} is not decided: ${error.message}`);
    });
};
const decide = (reason) => {
  const image = images[current];
  if (!image || !reasons.length) return; // one's own images can only be looked at
  undone.push([image, image.reason]);
  save(image, reason);
  if (current + 1 < images.length || start + images.length < count) move(1);
  press();
};
const undo = () => {
  if (!undone.length) return;
  const [image, reason] = undone.pop();
  const here = images.findIndex(({ index }) => index === image.index);
  save(here < 0 ? image : images[here], reason);
  if (here >= 0) go(here);
  else press();
};

const keys = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => current >= columns() && move(-columns()),
  ArrowDown: () => current + columns() < images.length && move(columns()),
  a: () => decide(""),
  u: undo,
  n: next,
  p: () => previous(),
  "/": () => form.elements.text?.focus(), // which one's own images lack
  ...Object.fromEntries(reasons.map((reason, i) => [i + 1, () => decide(reason)])),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape") images[current]?.tile.focus();
  } else if (Object.hasOwn(keys, event.key) && (images.length || event.key === "/")) {
    event.preventDefault();
    keys[event.key]();
  }
});
let typed;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  clearTimeout(typed);
  typed = setTimeout(() => load(0, null), target.type === "search" ? 250 : 0);
});
panel.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-reason]");
  if (button) decide(button.dataset.reason);
});
for (const [selector, act] of [[".undo", undo], [".previous", () => previous()], [".next", next]]) find(selector).addEventListener("click", act);
find(".large").addEventListener("load", ({ target }) => target.classList.toggle("small-image", target.naturalWidth < 128));
for (const [name, value] of new URLSearchParams(location.search)) if (form.elements[name]) form.elements[name].value = value;
load(0);
