// A question with its answers.

import { answerView, editor } from "./answer-view.js";
import { element, iconButton } from "./element.js";

const SHOWN = 3000; // characters of a question before the rest is folded away

// Return { node, update }; see answerView.
export function turnView(turn, { actions, feedback }) {
  const question = element("div", { class: "question" });
  const named = turn.answers.length > 1;
  const views = new Map(
    turn.answers.map((answer) => [answer, answerView(turn, answer, { actions, feedback, named: named || answer.who === "base" })]),
  );
  const answers = element("div", { class: named ? "answers pair" : "answers" }, ...[...views.values()].map((view) => view.node));
  const node = element("section", { class: "turn", "aria-label": "Question and answer" }, question, answers);
  ask();

  function ask() {
    const edit = iconButton("edit", "Edit the question", change, { "data-edit": true });
    question.replaceChildren(edit, bubble(turn.question));
  }

  function change() {
    const cancel = () => {
      ask();
      question.querySelector("[data-edit]").focus();
    };
    const save = (text) => (text.trim() ? actions.edit(turn, text) : cancel());
    const label = "Edit the question; what follows it is asked again";
    question.replaceChildren(element("div", { class: "bubble editing" }, ...editor(label, turn.question, "Ask", save, cancel)));
    question.querySelector("textarea").focus();
  }

  return {
    node,
    change,
    update(answer) {
      views.get(answer)?.update();
    },
  };
}

function bubble(text) {
  const shown = element("div", { class: "bubble", dir: "auto" }, text.slice(0, SHOWN));
  if (text.length > SHOWN) {
    const more = element("button", { type: "button", class: "plain" }, `Show all ${text.length.toLocaleString("en")} characters`);
    more.addEventListener("click", () => shown.replaceChildren(text));
    shown.append("… ", more);
  }
  return shown;
}
