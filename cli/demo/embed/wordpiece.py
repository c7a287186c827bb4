"""BERT's uncased tokenizer: clean, lower, strip accents, split off punctuation, then the longest known pieces first."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

CLS, SEP, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100


class WordPiece:
    """Turns text into the ids of a vocabulary file that has one piece a line."""

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self.ids = {piece: index for index, piece in enumerate(pieces)}

    def encode(self, text: str, most: int) -> list[int]:
        """At most `most` ids, the first and last of them the marks around a sentence."""
        pieces = [piece for word in words(text) for piece in self.pieces(word)]
        return [self.ids[piece] for piece in (CLS, *pieces[: most - 2], SEP)]

    def pieces(self, word: str) -> list[str]:
        found, start = [], 0
        if len(word) > LONGEST_WORD:
            return [UNKNOWN]
        while start < len(word):
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.ids), None)
            if end is None:
                return [UNKNOWN]
            found.append(mark + word[start:end])
            start = end
        return found


def words(text: str) -> Iterator[str]:
    cleaned = "".join(spaced(char) for char in text)
    bare = (char for char in unicodedata.normalize("NFD", cleaned) if unicodedata.category(char) != "Mn")
    yield from "".join(f" {char} " if is_punctuation(char) else char.lower() for char in bare).split()


def spaced(char: str) -> str:
    """A space for any space, nothing for a control character, air around an ideograph, else the character itself."""
    if char in "\t\n\r":
        return " "
    if char == "\ufffd" or unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}:
        return ""
    return f" {char} " if is_ideograph(char) else char


def is_punctuation(char: str) -> bool:
    """Every ASCII sign counts, `$` and `^` too, which Unicode calls symbols."""
    return (char.isascii() and not char.isalnum()) or unicodedata.category(char).startswith("P")


def is_ideograph(char: str) -> bool:
    return unicodedata.name(char, "").startswith(("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH"))
