// Chats in this browser's own database. Where there is none (a private window, a full disk), they
// live as long as the page.

const STORE = "chats";
let fallback = null; // a Map as soon as the database fails

// Return all chats, the latest first.
export async function all() {
  const chats = fallback ? [...fallback.values()] : await run("readonly", (store) => store.getAll(), []);
  return chats.sort((one, other) => other.changed - one.changed);
}

// Keep a chat as it is now.
export async function keep(chat) {
  const copy = structuredClone(chat);
  if (!fallback) await run("readwrite", (store) => store.put(copy));
  fallback?.set(chat.id, copy);
}

export async function forget(id) {
  fallback?.delete(id);
  if (!fallback) await run("readwrite", (store) => store.delete(id));
}

export async function forgetAll() {
  fallback?.clear();
  if (!fallback) await run("readwrite", (store) => store.clear());
}

// Tell whether chats outlive the page.
export const isKept = () => fallback === null;

async function run(mode, work, otherwise) {
  try {
    const database = await opened();
    return await promised(work(database.transaction(STORE, mode).objectStore(STORE)));
  } catch {
    fallback ??= new Map();
    return otherwise;
  }
}

let opening = null;

function opened() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("hieno-chat", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

function promised(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
