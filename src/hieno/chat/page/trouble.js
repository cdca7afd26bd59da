// What went wrong, in words that say what to do next.

export class Trouble extends Error {
  constructor(title, hint, { code = "", wait = null } = {}) {
    super(title);
    this.hint = hint;
    this.code = code;
    this.wait = wait; // seconds after which to ask again, where that makes sense
  }
}

export const SIGNED_OUT = "signed_out";

const WORDS = {
  session_required: ["You are signed out", "Whoever runs the model gets a new link with `hieno chat --web`."],
  code_refused: [
    "This link is no longer valid",
    "It works once and for a short time. Whoever runs the model gets a new one with `hieno chat --web`.",
  ],
  forbidden_origin: [
    "This page came from another address",
    "Open the address that `hieno chat --web` shows.",
  ],
  context_length_exceeded: [
    "That is longer than the model can read",
    "Shorten the question or the instructions, or allow a shorter answer in the settings.",
  ],
  request_too_large: [
    "That is too long to be sent",
    "Shorten the question, or begin a new chat.",
  ],
  requests_used_up: ["You have asked all the questions that this link allows", "The owner can make a new link."],
  tokens_used_up: ["This link's share of answers is used up", "The owner can make a new link."],
  rate_limit_exceeded: ["Many people are asking just now", "Try again in a moment."],
  model_not_ready: ["The model is not ready", "It is loading or was stopped. Try again in a moment."],
  model_not_found: ["No model answers here", "`hieno status` shows what runs."],
  request_timeout: ["The model took too long", "Allow a shorter answer in the settings, or try again."],
  engine_failed: ["The model failed while it answered", "Try again; the owner finds the reason with `hieno logs`."],
  upstream_error: ["The answer was cut off", "The model went away. It is started again by itself: try again in a moment."],
  feedback_off: ["Feedback is turned off", "Nothing was stored."],
  feedback_full: ["There is no room for more feedback", "Nothing was stored. The owner can move feedback.jsonl away."],
};

// Return the trouble that an answer with an error tells of.
export async function troubleOf(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // not one of ours: the status says what there is to say
  }
  const code = error.code ?? "";
  if (code === "model_not_ready" && error.message?.includes("memory")) {
    return new Trouble("There is no room for this model", `${error.message}.`, { code });
  }
  const [title, hint] = WORDS[code] ?? [
    "The model did not answer",
    `${error.message || "No reason was given"} (HTTP ${response.status})`,
  ];
  return new Trouble(title, hint, { code, wait: waitOf(response, code) });
}

export function cutOff(code) {
  return new Trouble(...(WORDS[code] ?? WORDS.upstream_error), { code: "upstream_error" });
}

export function unreachable() {
  return new Trouble("The model's computer does not answer", "`hieno up` starts it again. Then try again.", {
    code: "unreachable",
  });
}

function waitOf(response, code) {
  if (code !== "rate_limit_exceeded" && code !== "model_not_ready") return null;
  const named = Number(response.headers.get("retry-after"));
  return named > 0 ? Math.min(named, 30) : 1;
}
