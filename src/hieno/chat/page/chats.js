// A chat as plain data, and what can be done to it. Nothing here touches the page.
//
//   chat   { id, title, changed, settings, who, turns }
//   turn   { question, answers }
//   answer { id, who, text, state, ... }   state: waiting, running, done, stopped, failed

export const DEFAULTS = { system: "", temperature: 0, top_p: 1, max_tokens: 512, seed: null };

export function newChat(settings, who) {
  return { id: crypto.randomUUID(), title: "", changed: Date.now(), settings, who, turns: [] };
}

// Add a question with an empty answer from each of those who are asked; return the turn.
export function addTurn(chat, question) {
  if (!chat.turns.length) chat.title = titleOf(question);
  const asked = chat.who === "both" ? ["tuned", "base"] : [chat.who];
  const turn = { question, answers: asked.map(newAnswer) };
  chat.turns.push(turn);
  return turn;
}

export function newAnswer(who) {
  return { id: crypto.randomUUID(), who, text: "", state: "waiting" };
}

// Take a turn and all that follow it away.
export function cutAt(chat, turn) {
  chat.turns.length = chat.turns.indexOf(turn);
}

// Return what one of the two models is sent for a turn. Each sees its own earlier answers; where it
// gave none, the other's. Turns without any answer are left out, and so are the oldest `without`.
export function messagesFor(chat, turn, who, without = 0) {
  const { system } = chat.settings;
  const messages = system.trim() ? [{ role: "system", content: system }] : [];
  for (const earlier of answeredBefore(chat, turn).slice(without)) {
    const answer = earlier.answers.find((one) => one.who === who && one.text) ??
      earlier.answers.find((one) => one.text);
    messages.push({ role: "user", content: earlier.question });
    messages.push({ role: "assistant", content: answer.text });
  }
  return [...messages, { role: "user", content: turn.question }];
}

export function answeredBefore(chat, turn) {
  const before = chat.turns.slice(0, chat.turns.indexOf(turn));
  return before.filter((earlier) => earlier.answers.some((one) => one.text));
}

// Return the settings as the gateway takes them.
export function samplingOf({ temperature, top_p, max_tokens, seed }) {
  const sampling = { temperature, max_tokens };
  if (top_p !== 1) sampling.top_p = top_p;
  if (seed !== null) sampling.seed = seed;
  return sampling;
}

// What was being answered when the page was closed has stopped.
export function settle(chat) {
  for (const answer of chat.turns.flatMap((turn) => turn.answers)) {
    if (answer.state === "waiting" || answer.state === "running") answer.state = "stopped";
  }
  return chat;
}

// Return a chat as a line that `hieno data` reads.
export function asJsonLine(chat) {
  const last = chat.turns.findLast((turn) => turn.answers.some((one) => one.text));
  if (!last) return "";
  const who = last.answers[0].who;
  const answer = last.answers.find((one) => one.text);
  const messages = [...messagesFor(chat, last, who), { role: "assistant", content: answer.text }];
  return `${JSON.stringify({ messages })}\n`;
}

function titleOf(question) {
  const flat = question.replace(/\s+/g, " ").trim();
  return flat.length > 60 ? `${flat.slice(0, 59).trimEnd()}…` : flat;
}
