// Ask for one answer and follow it until it ends, however it ends.

import { complete } from "./api.js";
import { events } from "./events.js";
import { Trouble, cutOff, unreachable } from "./trouble.js";

const PATIENCE = 180_000; // milliseconds to wait for a model that loads or is busy

// Fill `answer` while it arrives; `changed` is called after each piece. Never throws: what went
// wrong is in `answer.error`.
//
// `messagesWithout(n)` returns the conversation without its oldest n turns: where all of it is more
// than the model can read, the oldest half of what is left goes, again and again.
export async function follow(answer, { messagesWithout, turns, settings, signal, changed }) {
  Object.assign(answer, { state: "waiting", text: "", error: null, left: 0, tokens: 0 });
  changed();
  try {
    const body = { who: answer.who, ...settings };
    const response = await opened(answer, { messagesWithout, turns, body, signal, changed });
    answer.version = response.headers.get("hieno-model-version") ?? "";
    answer.state = "running";
    await read(response, answer, changed);
    answer.state = "done";
  } catch (error) {
    stopOrFail(answer, error);
  }
  delete answer.waiting;
  changed();
}

async function opened(answer, { messagesWithout, turns, body, signal, changed }) {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await complete({ ...body, messages: messagesWithout(answer.left) }, signal);
    } catch (error) {
      if (error.code === "context_length_exceeded" && answer.left < turns) {
        answer.left += Math.ceil((turns - answer.left) / 2);
      } else if (error.wait && performance.now() + error.wait * 1000 < deadline) {
        answer.waiting = error.code === "model_not_ready" ? "The model is loading" : "Waiting for a free place";
        changed();
        await pause(error.wait * 1000, signal);
      } else throw error;
    }
  }
}

async function read(response, answer, changed) {
  let first = null;
  let finished = false;
  const asked = performance.now();
  for await (const event of events(response)) {
    if (event.error) throw cutOff(event.error.code);
    const [choice] = event.choices ?? [];
    const piece = choice?.delta?.content;
    if (piece) {
      first ??= performance.now();
      answer.text += piece;
      answer.tokens += 1; // as long as nobody counts better
      changed();
    }
    if (choice?.finish_reason) {
      finished = true;
      answer.ended = choice.finish_reason;
    }
    if (event.usage) answer.tokens = event.usage.completion_tokens;
    if (first) answer.seconds = (performance.now() - first) / 1000;
    if (first) answer.first = (first - asked) / 1000;
  }
  if (!finished) throw cutOff();
}

function stopOrFail(answer, error) {
  if (error.name === "AbortError") {
    answer.state = "stopped";
    return;
  }
  // a connection that breaks in the middle of an answer is no Trouble yet
  const known = error instanceof Trouble ? error : answer.text ? cutOff() : unreachable();
  answer.state = "failed";
  answer.error = { title: known.message, hint: known.hint, code: known.code };
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
