// The list of chats; on a narrow screen it comes from the side.

import { byId, element, iconButton } from "./element.js";

const narrow = matchMedia("(max-width: 800px)");

// Return what draws the list.
export function sidebar({ open, create, remove, save }) {
  const aside = byId("sidebar");
  const opener = byId("open-chats");
  byId("new-chat").addEventListener("click", () => {
    toggle(false);
    create();
  });
  opener.addEventListener("click", () => toggle(true));
  byId("close-chats").addEventListener("click", () => toggle(false));
  byId("shade").addEventListener("click", () => toggle(false));
  aside.addEventListener("keydown", (event) => {
    if (event.key === "Escape") toggle(false);
  });
  narrow.addEventListener("change", () => toggle(false));
  toggle(false);

  function toggle(shown) {
    const was = aside.classList.toggle("shown", shown && narrow.matches);
    aside.inert = narrow.matches && !was;
    opener.setAttribute("aria-expanded", String(was));
    if (was) byId("close-chats").focus();
    else if (narrow.matches && aside.contains(document.activeElement)) opener.focus();
  }

  function line(chat, current) {
    const title = element("button", {
      type: "button",
      class: "title",
      dir: "auto",
      "aria-current": chat.id === current.id ? "true" : null,
      onclick() {
        toggle(false);
        open(chat);
      },
    }, chat.title || "New chat");
    return element(
      "li",
      { class: chat.id === current.id ? "current" : null },
      title,
      iconButton("save", `Save as JSONL: ${chat.title}`, () => save(chat)),
      iconButton("delete", `Delete: ${chat.title}`, () => remove(chat)),
    );
  }

  return {
    show(chats, current) {
      const written = chats.filter((chat) => chat.turns.length);
      byId("chats").replaceChildren(...written.map((chat) => line(chat, current)));
    },
  };
}
