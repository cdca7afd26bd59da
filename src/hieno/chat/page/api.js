// The page's way to the gateway. The cookie that lets it in is out of any script's reach.

import { troubleOf, unreachable } from "./trouble.js";

const ROOT = new URL("api/", import.meta.url);

// Exchange the code that a link carried behind its # for a session.
export async function signIn(code) {
  await call("session", { method: "POST", body: { code } });
}

// Return what the gateway tells about the model and about what this visitor may do.
export async function session() {
  return (await call("session")).json();
}

export async function sendFeedback(row) {
  await call("feedback", { method: "POST", body: row });
}

// Ask for an answer; the response is a stream of events.
export function complete(body, signal) {
  return call("completions", { method: "POST", body, signal });
}

async function call(path, { method = "GET", body, signal } = {}) {
  let response;
  try {
    response = await fetch(new URL(path, ROOT), {
      method,
      signal,
      headers: body ? { "content-type": "application/json" } : {},
      body: body && JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!response.ok) throw await troubleOf(response);
  return response;
}
