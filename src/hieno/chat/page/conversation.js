// The middle of the page: the turns of the open chat, and where the reader is in them.

import { byId } from "./element.js";
import { turnView } from "./turn-view.js";

const NEAR = 80; // pixels from the end that still count as being there

// Return what draws a chat into the page.
export function conversation(actions) {
  const place = byId("conversation");
  const turns = byId("turns");
  const toEnd = byId("to-end");
  let views = new Map();
  let following = true;

  place.addEventListener("scroll", () => {
    following = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR;
    toEnd.hidden = following;
  });
  toEnd.addEventListener("click", goToEnd);

  function goToEnd() {
    following = true;
    place.scrollTop = place.scrollHeight;
    toEnd.hidden = true;
  }

  const stay = () => following && goToEnd();
  const due = new Set();

  function draw() {
    for (const [turn, answer] of due) views.get(turn)?.update(answer);
    due.clear();
    stay();
  }

  return {
    goToEnd,

    // Draw a chat from its beginning.
    open(chat, feedback) {
      views = new Map(chat.turns.map((turn) => [turn, turnView(turn, { actions, feedback })]));
      turns.replaceChildren(...[...views.values()].map((view) => view.node));
      byId("welcome").hidden = chat.turns.length > 0;
      goToEnd();
    },

    // Draw an answer again, at most once for each frame.
    changed(turn, answer) {
      if (!due.size) requestAnimationFrame(draw);
      for (const one of due) if (one[1] === answer) return;
      due.add([turn, answer]);
    },

    // Open the question of a turn for editing.
    edit(turn) {
      views.get(turn)?.change();
    },
  };
}
