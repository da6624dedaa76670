"""What the documents say, as something that can be run."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALL = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("clients/*/*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(document: Path, language: str) -> list[str]:
    """Return the fenced blocks of a document that are in this language."""
    found = _FENCE.findall(document.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def prose(document: Path) -> str:
    """Return a document without its fenced blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))
