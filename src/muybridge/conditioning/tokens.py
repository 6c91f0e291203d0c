"""What a pretrained text encoder reads a prompt in: words and parts of words, as its own tokenizer cuts them."""

from __future__ import annotations

from tokenizers import Encoding, Tokenizer

from muybridge.conditioning.vocabulary import Vocabulary, encodable


class Tokens(Vocabulary):
    """The tokenizer of a pretrained text encoder in the place of a vocabulary; no word is unknown to it.

    Ids are the tokenizer's and one, so that 0 is padding here as well. A prompt without a sign has none, which is what
    a model learns guidance from; any other has the encoder's own marks round it, and keeps them where it is cut.
    """

    unit = "tokens"

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Of a tokenizer that cuts prompts off: where it does is `longest`."""
        super().__init__(tokenizer)
        assert tokenizer.truncation is not None, "a tokenizer that reads prompts of any length"
        self.longest = int(tokenizer.truncation["max_length"])

    @classmethod
    def cut_by(cls, tokenizer: Tokenizer, longest: int) -> Tokens:
        """Those of a tokenizer, which is copied; `longest` of a prompt are read."""
        own = Tokenizer.from_str(tokenizer.to_str())
        own.no_padding()
        own.enable_truncation(longest)
        return cls(own)

    def __len__(self) -> int:
        return super().__len__() + 1

    def ids(self, text: str) -> list[int]:
        """Ids of the tokens of `text`, `longest` at most."""
        return [1 + token for token in self._read(text).ids] if text.strip() else []

    def split(self, text: str) -> list[str]:
        """The tokens of `text` that are read."""
        return list(self._read(text).tokens)

    def unknown(self, text: str) -> dict[str, list[str]]:
        """None: whatever it is, it is read in parts."""
        return {}

    def beyond(self, text: str) -> int:
        """How many tokens of `text` lie past `longest` and are not read; marks of the encoder's own do not count."""
        rest = self._read(text).overflowing
        return sum(len(part.ids) - sum(part.special_tokens_mask) for part in rest)

    def _read(self, text: str) -> Encoding:
        return self.tokenizer.encode(encodable(text))
