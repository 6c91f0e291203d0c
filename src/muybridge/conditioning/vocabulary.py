"""Words <-> ids, and what to say of words the model has never seen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

PAD, UNKNOWN = "[pad]", "[unknown]"
LONGEST_PROMPT = 64
"""Words of a prompt that are read; more than twice as many as the longest caption has."""

SIGN = r"\p{So}"
"""Emoji and the like: a word each, even where they touch one."""
BETWEEN = r"(?:[^\p{L}\p{N}\p{So}-]|(?<![\p{L}\p{N}])-|-(?![\p{L}\p{N}]))+"
"""What lies between words: all but letters, digits, signs and the hyphens inside a word."""
_SURROGATES = re.compile("[\ud800-\udfff]")


class Vocabulary:
    """The words a text encoder was trained with, one id each; 0 is padding, 1 a word it does not know.

    unit     what a prompt is read in, for people
    longest  how many of them are read
    """

    unit: str = "words"
    longest: int = LONGEST_PROMPT

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
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(SIGN), "isolated"), pre_tokenizers.Split(Regex(BETWEEN), "removed")]
        )
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
        return self._all_ids(text)[:LONGEST_PROMPT]

    def split(self, text: str) -> list[str]:
        """The words of `text` as they are read, known or not."""
        heard = self.tokenizer.normalizer.normalize_str(encodable(text))
        return [word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(heard)]

    def unknown(self, text: str) -> dict[str, list[str]]:
        """The words of `text` that are read but were never seen in training, each with the nearest that were."""
        return {
            word: difflib.get_close_matches(word, self.words, n=3, cutoff=0.6)
            for word in dict.fromkeys(self.split(text)[:LONGEST_PROMPT])
            if word not in self.words
        }

    def beyond(self, text: str) -> int:
        """How many words of `text` lie past LONGEST_PROMPT and are not read."""
        return max(0, len(self._all_ids(text)) - LONGEST_PROMPT)

    def _all_ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(encodable(text)).ids)


def encodable(text: str) -> str:
    """`text` with bytes that are no UTF-8 (a command line may hold such) as the sign for an unreadable character."""
    return _SURROGATES.sub("\ufffd", text)
