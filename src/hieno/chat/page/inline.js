// What stands within a line of Markdown: emphasis, code, links. One pass from left to right; a sign
// without a partner is a character like any other. HTML is text. Images are named, never loaded.

import { element } from "./element.js";

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const PAIRS = [
  ["***", ["strong", "em"]],
  ["**", ["strong"]],
  ["__", ["strong"]],
  ["~~", ["s"]],
  ["*", ["em"]],
  ["_", ["em"]],
];
const DEEPEST = 8;
const FARTHEST = 5000; // characters to look ahead for a partner: a hostile text costs no more

// Return the nodes of a text.
export function inline(text, depth = 0) {
  const nodes = [];
  let plain = "";
  let at = 0;
  const next = new Map(); // where each sign comes next, so that a text is searched once for it
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  while (at < text.length) {
    const found = construct(text, at, depth, next);
    if (found) {
      flush();
      nodes.push(found.node);
      at = found.end;
    } else if (text[at] === "\\" && PUNCTUATION.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return nodes;
}

function construct(text, at, depth, next) {
  switch (text[at]) {
    case "`":
      return code(text, at, next);
    case "\n":
      return { node: element("br"), end: at + 1 };
    case "!":
      return text[at + 1] === "[" ? link(text, at + 1, depth, true, next) : null;
    case "[":
      return link(text, at, depth, false, next);
    case "h":
      return address(text, at);
    case "*":
    case "_":
    case "~":
      return depth < DEEPEST ? emphasis(text, at, depth, next) : null;
    default:
      return null;
  }
}

function code(text, at, next) {
  let fence = 1;
  while (text[at + fence] === "`") fence += 1;
  const sign = text.slice(at, at + fence);
  const close = partner(text, sign, at + fence, next, (end) => text[end + fence] !== "`");
  if (close < 0) return { node: document.createTextNode(sign), end: at + fence };
  const inner = text.slice(at + fence, close).replaceAll("\n", " ");
  const padded = inner.length > 2 && inner.startsWith(" ") && inner.endsWith(" ");
  const node = element("code", {}, padded ? inner.slice(1, -1) : inner);
  return { node, end: close + fence };
}

function emphasis(text, at, depth, next) {
  if (at > 0 && text[at - 1] === text[at]) return null; // within a run that was tried as a whole
  for (const [sign, tags] of PAIRS) {
    if (!text.startsWith(sign, at)) continue;
    const begin = at + sign.length;
    if (text[begin] === sign[0]) continue; // a longer sign, which has no partner
    if (/\s/.test(text[begin] ?? " ")) return null;
    // snake_case is a word, not an emphasis
    if (sign[0] === "_" && isWord(text[at - 1])) return null;
    const close = partner(text, sign, begin + 1, next, (end) => {
      const after = text[end + sign.length];
      if (/\s/.test(text[end - 1]) || text[end - 1] === "\\") return false;
      if (after === sign[0]) return false;
      return sign[0] !== "_" || !isWord(after);
    });
    if (close < 0) continue;
    let children = inline(text.slice(begin, close), depth + 1);
    for (const tag of tags.toReversed()) children = [element(tag, {}, ...children)];
    return { node: children[0], end: close + sign.length };
  }
  return null;
}

function link(text, at, depth, image, next) {
  const close = partner(text, "](", at + 1, next, () => true);
  if (close < 0 || close - at > 1000) return null;
  const end = text.indexOf(")", close);
  const between = text.slice(at + 1, close);
  if (end < 0 || end - close > 2000 || between.includes("[") || between.includes("\n")) return null;
  const [target] = text.slice(close + 2, end).trim().split(/\s/, 1);
  const words = image ? [`image: ${between || target}`] : inline(between, DEEPEST);
  return { node: anchor(target, words) ?? element("span", {}, ...words), end: end + 1 };
}

function address(text, at) {
  if (isWord(text[at - 1])) return null;
  const found = /^https?:\/\/[^\s<>"'`]{3,2000}/.exec(text.slice(at, at + 2008));
  if (!found) return null;
  const target = found[0].replace(/[.,:;!?)\]*_~]+$/, "");
  const node = anchor(target, [target]);
  return node && { node, end: at + target.length };
}

// A link that a reader may follow; nothing is fetched before.
function anchor(target, words) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  const attributes = { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer" };
  return element("a", attributes, ...words);
}

function partner(text, sign, from, next, fits) {
  let end = next.get(sign) ?? -1;
  if (end < from) {
    end = text.indexOf(sign, from);
    if (end < 0) end = Infinity;
    next.set(sign, end);
  }
  const last = from + FARTHEST;
  for (let tries = 0; end < last && tries < 50; tries += 1) {
    if (fits(end)) return end;
    end = text.indexOf(sign, end + 1);
    if (end < 0) break;
  }
  return -1;
}

function isWord(character) {
  return character !== undefined && /[\p{L}\p{N}_]/u.test(character);
}
