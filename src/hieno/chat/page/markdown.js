// Markdown as elements: headings, paragraphs, lists, quotes, tables, code. The subset that models
// write; everything else stays the text that it is.

import { copyFrom, element, iconButton } from "./element.js";
import { inline } from "./inline.js";

const DEEPEST = 6; // lists in lists and quotes in quotes

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

// Show a text in a place. A text that grows keeps the elements of what has not changed.
export function show(place, text) {
  const sources = blocks(text.replaceAll("\r\n", "\n").split("\n"));
  const before = place.sources ?? [];
  let same = 0;
  while (same < sources.length && same < before.length && sources[same].key === before[same]) {
    same += 1;
  }
  while (place.childNodes.length > same) place.lastChild.remove();
  place.append(...sources.slice(same).map((source) => render(source, 0)));
  place.sources = sources.map((source) => source.key);
}

// Divide lines into blocks: { kind, lines, key, ... }; the key changes when the block does.
function blocks(lines) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const block = begin(lines, at);
    block.key = `${block.kind} ${lines.slice(at, block.end).join("\n")}`;
    found.push(block);
    at = block.end;
  }
  return found;
}

function begin(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { kind: `h${heading[1].length}`, text: heading[2], end: at + 1 };
  if (RULE.test(line)) return { kind: "hr", end: at + 1 };
  if (QUOTE.test(line)) {
    const end = until(lines, at, (next) => !next.trim() || startsOther(next, QUOTE));
    return { kind: "blockquote", lines: lines.slice(at, end).map((one) => one.replace(QUOTE, "")), end };
  }
  if (ITEM.test(line)) return list(lines, at);
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
    const end = until(lines, at + 1, (next) => !next.includes("|"));
    return { kind: "table", lines: lines.slice(at, end), end };
  }
  const end = until(lines, at, (next) => !next.trim() || startsOther(next, null));
  return { kind: "p", text: lines.slice(at, end).map((one) => one.trim()).join("\n"), end };
}

function fenced(lines, at, [, sign, language]) {
  const closes = (line) => line.trim().startsWith(sign) && !line.trim().replaceAll(sign[0], "");
  const end = until(lines, at, closes);
  return { kind: "pre", language, text: lines.slice(at + 1, end).join("\n"), end: end + 1 };
}

function list(lines, at) {
  const [, indent, bullet, number] = ITEM.exec(lines[at]);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    const deeper = /^\s*/.exec(lines[end])[0].length > indent.length + 1;
    if (item && !deeper && Boolean(item[2]) === Boolean(bullet)) items.push([item[4]]);
    else if (!lines[end].trim() && (lines[end + 1] ?? "").trim() && continues(lines[end + 1], indent)) {
      items.at(-1).push("");
    } else if (deeper || (lines[end].trim() && !item && !startsOther(lines[end], null))) {
      items.at(-1).push(dedent(lines[end], indent.length + (bullet ? 2 : 3)));
    } else break;
    end += 1;
  }
  return { kind: bullet ? "ul" : "ol", start: number, items, end };
}

const continues = (line, indent) => ITEM.test(line) || /^\s*/.exec(line)[0].length > indent.length + 1;

function dedent(line, width) {
  const spaces = /^\s*/.exec(line)[0].length;
  return line.slice(Math.min(spaces, width));
}

function until(lines, at, ends) {
  let end = at + 1;
  while (end < lines.length && !ends(lines[end])) end += 1;
  return end;
}

function startsOther(line, own) {
  if (own?.test(line)) return false;
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern !== own && pattern.test(line));
}

function render(block, depth) {
  switch (block.kind) {
    case "pre":
      return codeBlock(block);
    case "hr":
      return element("hr");
    case "blockquote":
      return element("blockquote", {}, ...nested(block.lines, depth));
    case "ul":
    case "ol":
      return element(
        block.kind,
        { start: block.start && block.start !== "1" ? block.start : null },
        ...block.items.map((lines) => listItem(lines, depth)),
      );
    case "table":
      return table(block.lines);
    default: {
      // a page has its own headings; an answer's begin below them
      const level = /^h(\d)$/.exec(block.kind);
      const tag = level ? `h${Math.min(6, Number(level[1]) + 2)}` : "p";
      return element(tag, { dir: "auto" }, ...inline(block.text));
    }
  }
}

function nested(lines, depth) {
  if (depth >= DEEPEST) return [document.createTextNode(lines.join("\n"))];
  return blocks(lines).map((block) => render(block, depth + 1));
}

function listItem(lines, depth) {
  const children = nested(lines, depth);
  const tight = !lines.includes("") && children[0]?.nodeName === "P";
  if (tight) children.splice(0, 1, ...children[0].childNodes);
  return element("li", { dir: "auto" }, ...children);
}

function codeBlock({ language, text }) {
  const copy = iconButton("copy", "Copy the code", () => copyFrom(copy, text));
  const name = language.slice(0, 40);
  return element(
    "figure",
    { class: "code" },
    element("figcaption", {}, element("span", {}, name || "code"), copy),
    element(
      "pre",
      { tabindex: "0", role: "region", "aria-label": name ? `Code in ${name}` : "Code" },
      element("code", {}, text),
    ),
  );
}

function table([head, , ...rows]) {
  const cells = (line) =>
    line.trim().replace(/^\||\|$/g, "").split("|").slice(0, 50).map((cell) => inline(cell.trim()));
  const columns = cells(head);
  return element(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...columns.map((one) => element("th", {}, ...one)))),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element("tr", {}, ...cells(row).slice(0, columns.length).map((one) => element("td", {}, ...one))),
        ),
      ),
    ),
  );
}
