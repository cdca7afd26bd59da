// One answer on the page: its text, what is wrong with it, and what can be done with it.

import { copyFrom, element, iconButton } from "./element.js";
import { inline } from "./inline.js";
import { show } from "./markdown.js";

const NAMES = { tuned: "Tuned", base: "Base" };

// Return { node, update }; `actions` is what the buttons do, `feedback` whether ratings are kept.
export function answerView(turn, answer, { actions, feedback, named }) {
  const text = element("div", { class: "text" });
  const trouble = element("div", { class: "trouble", role: "group", "aria-label": "What went wrong" });
  const waiting = element("p", { class: "waiting" });
  const measure = element("span", { class: "small measure" });
  const copy = iconButton("copy", "Copy the answer", () => copyFrom(copy, answer.text));
  const retry = iconButton("retry", "Ask again", () => actions.retry(turn, answer), { "data-retry": true });
  const ratings = feedback ? ratingButtons(turn, answer, actions) : null;
  const bar = element("div", { class: "bar" }, copy, retry, ...(ratings?.buttons ?? []), measure);
  const label = element("h3", { class: named ? "small who" : "unseen" }, NAMES[answer.who]);
  const node = element("article", { class: "answer", "aria-busy": "false" }, label, text, waiting, trouble, bar);
  if (ratings) node.append(ratings.corrected);

  let drawn = null;
  function update() {
    const running = answer.state === "waiting" || answer.state === "running";
    node.setAttribute("aria-busy", String(running));
    if (drawn !== answer.text) show(text, (drawn = answer.text));
    waiting.hidden = !(running && !answer.text);
    waiting.replaceChildren(...dots(), answer.waiting ?? "");
    showTrouble(trouble, answer, () => actions.retry(turn, answer));
    bar.hidden = running || (answer.state === "failed" && !answer.text);
    measure.textContent = measured(answer);
    ratings?.update();
  }
  update();
  return { node, update };
}

function dots() {
  return [element("span", { class: "dots", role: "img", "aria-label": "Thinking" })];
}

function showTrouble(place, answer, again) {
  place.hidden = !answer.error;
  if (!answer.error) return;
  place.replaceChildren(
    element("strong", {}, answer.error.title),
    element("p", {}, ...inline(answer.error.hint)),
    element("button", { type: "button", class: "plain", "data-retry": true, onclick: again }, "Try again"),
  );
}

// Say how long and how fast the answer was, and what the model did not see of the chat.
function measured(answer) {
  const parts = [];
  if (answer.state === "stopped") parts.push("stopped");
  if (answer.ended === "length" && answer.state === "done") parts.push("reached the longest answer");
  if (answer.tokens) parts.push(`${answer.tokens} ${answer.tokens === 1 ? "token" : "tokens"}`);
  if (answer.tokens > 1 && answer.seconds > 0.01) {
    parts.push(`${rounded((answer.tokens - 1) / answer.seconds)} tokens/s`);
  }
  if (answer.left) {
    const turns = answer.left === 1 ? "turn" : `${answer.left} turns`;
    parts.push(`without the oldest ${turns}: the chat is longer than the model can read`);
  }
  return parts.join(" · ");
}

const rounded = (rate) => (rate < 10 ? rate.toFixed(1) : Math.round(rate));

function ratingButtons(turn, answer, actions) {
  const rate = (rating) => actions.rate(turn, answer, answer.rating === rating ? null : rating);
  const up = iconButton("up", "Good answer", () => rate("up"));
  const down = iconButton("down", "Bad answer", () => rate("down"));
  const edit = iconButton("edit", "Correct this answer", () => open());
  const corrected = element("div", { class: "corrected" });

  let editing = false; // what is being written outlives a rating that is stored meanwhile

  function close() {
    editing = false;
    update();
    edit.focus();
  }

  function open() {
    editing = true;
    const save = async (text) => {
      if (await actions.correct(turn, answer, text)) close();
    };
    corrected.replaceChildren(
      ...editor("What should the answer have been?", answer.correction ?? answer.text, "Save", save, close),
    );
    corrected.hidden = false;
    corrected.querySelector("textarea").focus();
  }

  function update() {
    up.setAttribute("aria-pressed", String(answer.rating === "up"));
    down.setAttribute("aria-pressed", String(answer.rating === "down"));
    if (editing) return;
    corrected.hidden = answer.correction == null;
    if (corrected.hidden) return corrected.replaceChildren();
    const remove = () => actions.correct(turn, answer, null);
    corrected.replaceChildren(
      element("p", { class: "small" }, "Corrected to"),
      element("p", { class: "correction", dir: "auto" }, answer.correction),
      element("button", { type: "button", class: "plain", onclick: remove }, "Take it back"),
    );
  }
  return { buttons: [up, down, edit], corrected, update };
}

// Return a field with two buttons; Escape leaves it as Cancel does.
export function editor(label, value, done, onsave, oncancel) {
  const field = element("textarea", { rows: Math.min(12, value.split("\n").length + 1), dir: "auto", "aria-label": label });
  field.value = value;
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") oncancel();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onsave(field.value);
    if (event.key === "Escape") event.stopPropagation();
  });
  return [
    element("p", { class: "small", "aria-hidden": "true" }, label),
    field,
    element(
      "div",
      { class: "choices" },
      element("button", { type: "button", class: "primary", onclick: () => onsave(field.value) }, done),
      element("button", { type: "button", class: "plain", onclick: oncancel }, "Cancel"),
    ),
  ];
}

