// The dialog with what a chat is asked with, and how the page looks.

import { DEFAULTS } from "./chats.js";
import { byId } from "./element.js";

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const KEPT = "hieno-settings";

// The settings that a new chat begins with: those that were chosen last.
export function lastSettings(most) {
  const last = stored(KEPT) ?? {};
  const settings = { ...DEFAULTS, ...last };
  settings.max_tokens = Math.min(settings.max_tokens, most);
  return settings;
}

// Return what opens the dialog on a chat's settings; `changed` is told of each change.
export function settingsDialog({ changed, deleteAll }) {
  const dialog = byId("settings");
  let settings = DEFAULTS;
  byId("delete-all").addEventListener("click", () => {
    dialog.close();
    deleteAll();
  });
  byId("system").addEventListener("input", (event) => take("system", event.target.value));
  for (const name of NUMBERS) {
    byId(name).addEventListener("change", (event) => {
      const field = event.target;
      const empty = field.value === "";
      if (!field.checkValidity() || (empty && name !== "seed")) field.value = settings[name] ?? "";
      else take(name, empty ? null : Number(field.value));
    });
  }
  initTheme();

  function take(name, value) {
    settings = { ...settings, [name]: value };
    store(KEPT, settings);
    changed(settings);
  }

  return {
    open(chosen, most) {
      settings = chosen;
      byId("system").value = chosen.system;
      for (const name of NUMBERS) byId(name).value = chosen[name] ?? "";
      byId("max_tokens").max = most;
      dialog.showModal();
    },
  };
}

function initTheme() {
  const root = document.documentElement;
  for (const choice of document.querySelectorAll("#theme input")) {
    choice.checked = choice.value === (root.dataset.theme ?? "auto");
    choice.addEventListener("change", () => {
      if (choice.value === "auto") delete root.dataset.theme;
      else root.dataset.theme = choice.value;
      try {
        localStorage.setItem("hieno-theme", choice.value);
      } catch {
        // it lasts as long as the page
      }
    });
  }
}

function stored(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // it lasts as long as the page
  }
}
