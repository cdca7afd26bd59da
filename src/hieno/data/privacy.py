"""Secrets and personal data in texts: found, and masked where that is wanted.

A find is a hint for a person to look, not a proof that there is nothing else: names, addresses and
keys of unknown form are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SECRET, PERSONAL = "secret", "personal"


@dataclass(frozen=True)
class Find:
    """A place in a text (`start` to `end`, in characters) that should perhaps not be learnt."""

    family: str  # SECRET or PERSONAL
    kind: str
    start: int
    end: int


# kind, what every such text contains (a quick look before the pattern), the pattern
_SECRETS = [
    ("aws-key", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
     r"\bgh[pousr]_\w{36,255}|\bgithub_pat_\w{22,255}"),
    ("slack-token", ("xox",), r"\bxox[abeprs]-[\w-]{10,250}"),
    ("api-key", ("sk-",), r"\bsk-[\w-]{20,250}"),
    ("google-key", ("AIza",), r"\bAIza[\w-]{35}"),
    ("hub-token", ("hf_",), r"\bhf_[A-Za-z0-9]{30,100}\b"),
    ("private-key", ("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
     r"(?:[\s\S]{0,10000}?-----END [A-Z ]{0,40}PRIVATE KEY-----)?"),
    ("jwt", ("eyJ",), r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{5,4000}\.[\w-]{10,2000}"),
    ("azure-key", ("AccountKey=", "SharedAccessKey="),
     r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{40,120}={0,2}"),
    ("password", ("://",), r"(?<=://)[^\s/:@]{1,100}:[^\s/@]{1,100}(?=@)"),
]  # fmt: skip
_KEYS = [(kind, signs, re.compile(pattern)) for kind, signs, pattern in _SECRETS]
_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_DIGITS = re.compile(r"(?<![\w.,:/-])[+(]?\d(?:[ ().-]{0,2}\d){7,18}(?![\w])")
_NUMBERED = re.compile(r"\d{2}")
_PHONE = re.compile(r"\+\d|0\d{1,4}[ -]|0\d{8,10}$|\(\d{2,5}\) ?\d|\d{3}[-. ]\d{3}[-. ]\d{4}$")


def scan(text: str) -> list[Find]:
    """Return what stands in a text, in order and without overlaps."""
    finds = sorted((*_secrets(text), *_personal(text)), key=lambda find: (find.start, -find.end))
    apart: list[Find] = []
    for find in finds:
        if not apart or find.start >= apart[-1].end:
            apart.append(find)
    return apart


def masked(text: str, finds: list[Find]) -> str:
    """Return the text with each find replaced by its kind in brackets."""
    parts, end = [], 0
    for find in finds:
        parts += [text[end : find.start], f"[{find.kind}]"]
        end = find.end
    return "".join([*parts, text[end:]])


def _secrets(text: str) -> Iterator[Find]:
    for kind, signs, pattern in _KEYS:
        if any(sign in text for sign in signs):
            for found in pattern.finditer(text):
                yield Find(SECRET, kind, *found.span())


def _personal(text: str) -> Iterator[Find]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            yield Find(PERSONAL, "email", *found.span())
    if not _NUMBERED.search(text):
        return
    for found in _IBAN.finditer(text):
        if _is_iban(found[0]):
            yield Find(PERSONAL, "iban", *found.span())
    for found in _DIGITS.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if 13 <= len(digits) <= 19 and _is_card(digits):
            yield Find(PERSONAL, "card", *found.span())
        elif 8 <= len(digits) <= 15 and _PHONE.match(found[0]):
            yield Find(PERSONAL, "phone", *found.span())


def _is_card(digits: str) -> bool:
    """Check the last digit as ISO/IEC 7812-1, annex B, asks (Luhn)."""
    if len(set(digits)) == 1:
        return False
    total = 0
    for place, sign in enumerate(reversed(digits)):
        value = int(sign) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    """Check an account number's two digits as ISO 13616 asks: the whole is 1 modulo 97."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1
