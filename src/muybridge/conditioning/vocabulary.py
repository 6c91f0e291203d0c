"""Words <-> ids, and what to say of words the model has never seen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

PAD, UNKNOWN = "[pad]", "[unknown]"
LONGEST_PROMPT = 64
"""Words of a prompt that are read; more than twice as many as the longest caption has."""


class Vocabulary:
    """The words a text encoder was trained with, one id each; 0 is padding, 1 a word it does not know."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.words = frozenset(tokenizer.get_vocab()) - {PAD, UNKNOWN}

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """The vocabulary of `words` (lower case, hyphens allowed inside)."""
        ids = {word: i for i, word in enumerate([PAD, UNKNOWN, *sorted(set(words))])}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}-]+"), "removed")
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        return str(self.tokenizer.to_str())

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def ids(self, text: str) -> list[int]:
        """Ids of the words of `text`, LONGEST_PROMPT at most."""
        return list(self.tokenizer.encode(text).ids[:LONGEST_PROMPT])

    def unknown(self, text: str) -> dict[str, list[str]]:
        """The words of `text` that were never seen in training, each with the nearest words that were."""
        heard = self.tokenizer.normalizer.normalize_str(text)
        pieces = [piece for piece, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(heard)]
        return {
            piece: difflib.get_close_matches(piece, self.words, n=3, cutoff=0.6)
            for piece in dict.fromkeys(pieces)
            if piece not in self.words
        }

    def beyond(self, text: str) -> int:
        """How many words of `text` lie past LONGEST_PROMPT and are not read."""
        return max(0, len(self.tokenizer.encode(text).ids) - LONGEST_PROMPT)
