// Sign in: the code of a link is used once and leaves the address bar before anything else happens.

import { session, signIn } from "./api.js";
import { byId } from "./element.js";
import { inline } from "./inline.js";

// Return the session, or null after saying why there is none.
export async function enter() {
  const code = location.hash.slice(1);
  if (/^[\w-]{20,}$/.test(code)) {
    history.replaceState(null, "", location.pathname);
    try {
      await signIn(code);
    } catch (error) {
      return (await current()) ?? refuse(error); // a used link in a browser that is signed in
    }
  }
  return (await current(refuse)) ?? null;
}

async function current(otherwise = () => null) {
  try {
    const found = await session();
    byId("gate").hidden = true;
    return found;
  } catch (error) {
    return otherwise(error);
  }
}

function refuse(error) {
  const gate = byId("gate");
  gate.querySelector("h2").textContent = error.message;
  gate.querySelector("p").replaceChildren(...inline(error.hint));
  gate.hidden = false;
  return null;
}
