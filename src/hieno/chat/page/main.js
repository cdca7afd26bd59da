// The page: the chats, which of them is open, and what is being answered.

import { follow } from "./answering.js";
import { sendFeedback, session } from "./api.js";
import * as chats from "./chats.js";
import { composer } from "./composer.js";
import { conversation } from "./conversation.js";
import { enter } from "./door.js";
import { byId, element, say } from "./element.js";
import * as history from "./history.js";
import { lastSettings, settingsDialog } from "./settings.js";
import { sidebar } from "./sidebar.js";

const SAVE_EVERY = 1000; // milliseconds, while an answer grows
const LOOK_EVERY = 2000; // milliseconds, while the model is not ready

let visitor = null; // what the gateway says of the model and of this visitor
let all = [];
let chat = null;
const running = new Map(); // chat -> AbortController

const view = conversation({ edit, retry, rate, correct });
const list = sidebar({ open, create, remove, save });
const entry = composer({ ask, stop, editLast, create });
const dialog = settingsDialog({ changed: changeSettings, deleteAll });

byId("open-settings").addEventListener("click", () => dialog.open(chat.settings, visitor.max_tokens));
for (const choice of document.querySelectorAll("#who input")) {
  choice.addEventListener("change", () => {
    chat.who = choice.value;
    if (chat.turns.length) keep(chat);
  });
}
addEventListener("hashchange", start); // a new link in the same tab loads no new page
start();

async function start() {
  const found = await enter();
  if (!found) return;
  const first = visitor === null;
  visitor = found;
  tell();
  if (!first) return;
  all = (await history.all()).map(chats.settle);
  if (!history.isKept()) byId("kept").textContent = "This browser keeps nothing: chats end with the page.";
  create();
  look();
}

// Ask about the model again until it is ready.
async function look() {
  while (visitor.state !== "ready") {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    await refresh();
  }
}

async function refresh() {
  try {
    visitor = await session();
    tell();
  } catch {
    // the next answer will say so where it matters
  }
}

function tell() {
  const { title, version, state, base, feedback, guest } = visitor;
  byId("model").textContent = title;
  byId("version").textContent = state === "ready" ? `version ${version}` : "loading";
  byId("who").hidden = !base;
  byId("welcome-words").textContent = base
    ? `${title} answers. Choose “Side by side” to see what the model said before it was tuned.`
    : `${title} answers.`;
  byId("feedback-words").textContent = feedback
    ? "The thumbs store the question, the answer, what came before them, and your correction on the model's computer, for its owner to train with. Nothing says that it was you."
    : "Nobody collects feedback here.";
  if (guest) {
    const count = (number, unit) => `${number.toLocaleString("en")} ${unit}${number === 1 ? "" : "s"}`;
    const left = `${count(guest.requests, "question")} and ${count(guest.tokens, "token")} of answers`;
    byId("note").textContent = `You have ${left} left.`;
  }
}

function create() {
  const settings = lastSettings(visitor.max_tokens);
  open(chats.newChat(settings, visitor.base ? (chat?.who ?? "tuned") : "tuned"));
  entry.focus();
}

function open(chosen) {
  chat = chosen;
  if (!visitor.base) chat.who = "tuned";
  document.title = chat.title ? `${chat.title} · ${visitor.title}` : visitor.title;
  for (const choice of document.querySelectorAll("#who input")) choice.checked = choice.value === chat.who;
  view.open(chat, visitor.feedback);
  entry.setBusy(running.has(chat));
  list.show(all, chat);
}

function ask(question) {
  const asked = chat;
  const turn = chats.addTurn(asked, question);
  all = [asked, ...all.filter((other) => other !== asked)];
  open(asked);
  return answer(asked, turn, turn.answers);
}

function edit(turn, question) {
  if (running.has(chat)) return;
  chats.cutAt(chat, turn);
  entry.focus();
  ask(question);
}

function editLast() {
  const turn = chat.turns.at(-1);
  if (turn) view.edit(turn);
}

function retry(turn, one) {
  if (running.has(chat)) return;
  Object.assign(one, chats.newAnswer(one.who), { rating: null, correction: null, ended: "" });
  entry.focus();
  answer(chat, turn, [one]);
}

// Follow the answers to a turn, both models at once.
async function answer(asked, turn, answers) {
  const controller = new AbortController();
  running.set(asked, controller);
  entry.setBusy(true);
  await keep(asked);
  const saving = setInterval(() => keep(asked), SAVE_EVERY);
  const turns = chats.answeredBefore(asked, turn).length;
  await Promise.all(
    answers.map((one) =>
      follow(one, {
        messagesWithout: (left) => chats.messagesFor(asked, turn, one.who, left),
        turns,
        settings: chats.samplingOf(asked.settings),
        signal: controller.signal,
        changed: () => view.changed(turn, one),
      }),
    ),
  );
  clearInterval(saving);
  running.delete(asked);
  asked.changed = Date.now();
  await keep(asked);
  if (chat === asked) entry.setBusy(false);
  say(answers.map(announced).join(" "));
  if (visitor.guest) refresh();
}

function announced({ who, state, text, error }) {
  const begun = { done: "Answer", stopped: "Stopped", failed: "Failed" }[state];
  return `${begun}${who === "base" ? " of the base model" : ""}: ${error ? error.title : text.slice(0, 2000)}`;
}

function stop() {
  running.get(chat)?.abort();
}

function changeSettings(settings) {
  chat.settings = settings;
  if (chat.turns.length) keep(chat);
}

async function keep(one) {
  if (!all.includes(one)) return; // it was deleted meanwhile
  await history.keep(one);
}

async function remove(one) {
  if (!confirm(`Delete “${one.title}”? It cannot be brought back.`)) return;
  running.get(one)?.abort();
  all = all.filter((other) => other !== one);
  await history.forget(one.id);
  if (one === chat) create();
  else list.show(all, chat);
}

async function deleteAll() {
  if (!confirm("Delete all chats in this browser? They cannot be brought back.")) return;
  for (const controller of running.values()) controller.abort();
  all = [];
  await history.forgetAll();
  create();
}

function save(one) {
  const url = URL.createObjectURL(new Blob([chats.asJsonLine(one)], { type: "application/jsonl" }));
  element("a", { href: url, download: "chat.jsonl" }).click();
  URL.revokeObjectURL(url);
}

function rate(turn, one, rating) {
  return feedback(turn, one, { rating });
}

function correct(turn, one, text) {
  return feedback(turn, one, { correction: text?.trim() ? text : null });
}

let told = Promise.resolve(); // one after the other: the last line of an answer counts

// Return whether it was stored.
async function feedback(turn, one, change) {
  const asked = chat;
  const { id, who, text, version, rating = null, correction = null } = { ...one, ...change };
  const before = { rating: one.rating, correction: one.correction };
  Object.assign(one, change); // at once: a second click counts on the first
  view.changed(turn, one);
  const said = { role: "assistant", content: text };
  const messages = [...chats.messagesFor(asked, turn, who, one.left ?? 0), said];
  const row = { id, messages, rating, correction, model_version: version ?? "" };
  const telling = told.then(() => sendFeedback(row));
  told = telling.catch(() => {});
  try {
    await telling;
  } catch (error) {
    Object.assign(one, before);
    view.changed(turn, one);
    say(`${error.message}. ${error.hint}`);
    byId("note").textContent = `${error.message}. ${error.hint}`;
    return false;
  }
  say("Thank you");
  keep(asked);
  return true;
}
