// The page on which a person labels images. All that comes from the server is set as text or as a property.
const find = (selector) => document.querySelector(selector);
const buttons = [...document.querySelectorAll("[data-answer]")];
const filter = find(".filter");
let shown = null; // the image on the page
let last = null; // the image that was answered before
let busy = false;

const request = async (path, options) => {
  const response = await fetch(path, options).catch(() => null);
  if (!response) throw Error("genrobust label no longer runs: start it again; all labels are saved");
  if (!response.ok) throw Error(await response.text());
  return response.json();
};

const show = (state) => {
  shown = state.next;
  last = state.last;
  find(".count").textContent =
    `${state.labeled.toLocaleString("en")} of ${state.differing.toLocaleString("en")} images labeled` +
    (state.uncertain ? `, ${state.uncertain} of them uncertain and left out` : "") +
    (state.disagreements ? `; ${state.disagreements} with different answers of two people` : "");
  find(".result").textContent = state.result;
  find(".task").hidden = shown === null;
  find(".undo").disabled = last === null;
  if (shown !== null) {
    find(".image").src = `images/${shown}`;
    find(".key").textContent = state.key;
  }
};

const send = async (path, options) => {
  if (busy) return;
  busy = true;
  try {
    show(await request(path, options));
    find(".alert").textContent = "";
  } catch (error) {
    find(".alert").textContent = error.message;
  }
  busy = false;
};

const answer = (text) => {
  if (shown === null) return;
  send(`answers/${shown}?${new URLSearchParams({ answer: text })}`, { method: "POST" });
  if (filter) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
  }
};
const undo = () => last !== null && send(`answers/${last}`, { method: "POST" });

for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.answer));
find(".undo").addEventListener("click", undo);
find(".image").addEventListener("load", ({ target }) => target.classList.toggle("small-image", target.naturalWidth < 128));

const classes = buttons.slice(0, -2); // without "none of these" and "cannot tell"
filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  for (const button of classes) button.hidden = !button.dataset.answer.toLowerCase().includes(wanted);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    const found = classes.filter((button) => !button.hidden);
    if (event.key !== "Enter" && event.key !== "Escape") return;
    // A press of Enter names a class only if no other fits.
    if (event.key === "Enter" && found.length !== 1) return;
    if (event.key === "Enter") answer(found[0].dataset.answer);
    filter.blur();
  } else if (event.key === "/" && filter) filter.focus();
  else if (event.key === "u") undo();
  else {
    const button = buttons.find(({ dataset }) => dataset.key === event.key);
    if (!button) return;
    answer(button.dataset.answer);
  }
  event.preventDefault();
});
send("state");
