// The field for a question, and the keys of the page.

import { byId } from "./element.js";

// Characters from which a field that grows with its text, and looks for its direction, is slow.
const LONG = 20_000;

// Return what says whether something is being answered.
export function composer({ ask, stop, editLast, create }) {
  const field = byId("question");
  const send = byId("send");
  const halt = byId("stop");
  let busy = false;

  function fit(length) {
    field.classList.toggle("long", length > LONG);
    field.dir = length > LONG ? "ltr" : "auto";
  }

  function refresh() {
    fit(field.value.length);
    send.disabled = !field.value.trim();
    send.hidden = busy;
    halt.hidden = !busy;
  }

  function submit() {
    const question = field.value;
    if (busy || !question.trim()) return;
    field.value = "";
    refresh();
    ask(question);
  }

  field.addEventListener("beforeinput", (event) => {
    fit(field.value.length + (event.data?.length ?? 0)); // before it is laid out
  });
  field.addEventListener("input", refresh);
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  halt.addEventListener("click", stop);
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter chooses a word there
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && !field.value && !busy) {
      event.preventDefault();
      editLast();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (byId("settings").open) return;
    if (event.key === "Escape" && busy) stop();
    if (event.altKey && event.code === "KeyN") {
      event.preventDefault();
      create();
    }
    if (event.key === "/" && !event.target.closest("textarea, input")) {
      event.preventDefault();
      field.focus();
    }
  });
  refresh();

  return {
    focus: () => field.focus(),
    setBusy(now) {
      const focused = document.activeElement === halt || document.activeElement === send;
      busy = now;
      refresh();
      if (focused) field.focus();
    },
  };
}
