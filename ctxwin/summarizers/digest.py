"""
The embedded summariser: an extractive digest.

It quotes the sentences of a conversation that say most for their length, in their original order,
each after the name of the speaker. Names, numbers, dates, titles, decisions and open questions come
first, repetitions and mere politeness last. It understands nothing: it does not draw conclusions,
resolve "it" and "there", or notice that one sentence takes back another. It is deterministic, needs
no network and no model, works best for English and Chinese, and takes about linear time. If you
have a model, let the model write the summary.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

from ctxwin.laws.graphemes import floor_boundary
from ctxwin.summarizers.sentences import Sentence, sentences_of
from ctxwin.values.errors import SummarizerError
from ctxwin.values.message import Message

HEADINGS = ("Earlier in this conversation:", "此前的对话：")  # noqa: RUF001 - Chinese
REPEATED = 0.1  # the share of its worth that something keeps when it is said again
OVERHEAD = 3.0  # tokens that a sentence costs beside its text: the speaker, a line break


class Digest:
    """
    Summarises by quoting the most telling sentences.

    Args:
        count: returns the tokens of a text; by default an estimate that is a little too high.
    """

    def __init__(self, count: Callable[[str], int] | None = None) -> None:
        self.count = count or estimate_tokens

    def __repr__(self) -> str:
        return "Digest()"

    def __call__(
        self, messages: Sequence[Message], previous_summary: str | None, max_tokens: int
    ) -> str:
        """
        Return a digest of an earlier summary and of messages.

        Args:
            messages: the messages, oldest first.
            previous_summary: a digest or any other text about what came before them, or None.
            max_tokens: how long the digest may be, by `count`.

        Raises:
            SummarizerError: not even one character fits.
        """
        sentences = sentences_of(messages, previous_summary, HEADINGS)
        ranked = _ranked(sentences)
        heading = HEADINGS[
            sum(not sentence.text.isascii() for sentence in ranked) * 2 > len(ranked)
        ]
        for title in (heading, ""):
            text = self._longest(ranked, title, max_tokens)
            if text:
                return text
        return self._shortened(ranked, len(messages), max_tokens)

    def _longest(self, ranked: Sequence[Sentence], heading: str, max_tokens: int) -> str:
        """Return a text of as many sentences as fit, best first; `""` if not even one fits."""
        # The step doubles before it halves: usually few of many sentences fit, and counting a text
        # of half of them would be the most expensive step.
        low, high, best = 0, len(ranked), ""
        step = 1
        while low < high:
            middle = min(low + step, high)
            text = _told(ranked[:middle], heading)
            if self.count(text) <= max_tokens:
                low, best, step = middle, text, step * 2
            else:
                high, step = middle - 1, max(1, (middle - 1 - low) // 2)
        return best

    def _shortened(self, ranked: Sequence[Sentence], messages: int, max_tokens: int) -> str:
        """Return as much of the best sentence as fits, cut between words if possible."""
        whole = _encodable(ranked[0].text) if ranked else f"messages without text: {messages}"
        text, end = whole, len(whole)
        while text and self.count(text) > max_tokens:
            end = floor_boundary(whole, end - max(1, end // 8))
            between = whole.rfind(" ", 0, end + 1)
            text = whole[: between if between > 0 else end].rstrip()
        if not text:
            raise SummarizerError(f"a digest needs more room than {max_tokens} tokens")
        return text


def estimate_tokens(text: str) -> int:
    """
    Return about how many tokens a text has, a little too many.

    The estimate adds up what each kind of character usually costs in byte-pair encodings.
    """
    letters = sum(character.isascii() and character.isalpha() for character in text)
    spaces = len(re.findall(r" (?!\d)", text))  # a space before a digit is a token of its own
    ascii_rest = sum(map(str.isascii, text)) - letters - spaces
    far = sum(character > "\uffff" for character in text)
    common = sum(
        "\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in text
    )
    rest = len(text) - letters - spaces - ascii_rest - far - common
    return math.ceil(letters / 3 + spaces / 3 + ascii_rest + common * 1.5 + rest * 3 + far * 4)


def _length(text: str) -> float:
    """
    Return about how many tokens a text of this length has.

    Unlike `estimate_tokens` it ignores what the characters are: numbers cost more tokens than
    words, and that must not push telling sentences back.
    """
    plain = sum(map(str.isascii, text))
    return plain / 3 + len(text) - plain


def _ranked(sentences: Sequence[Sentence]) -> list[Sentence]:
    """
    Return sentences in the order of what each adds to those before it, relative to its length.

    The worth of a sentence can only fall when others are taken before it. So a sentence that is
    first in the heap, and still first after its worth is computed anew, is the best of all.
    """
    rarity = _rarity(sentences)
    told: set[str] = set()

    def worth(sentence: Sentence) -> float:
        keys = sum(
            value * rarity[key] * (REPEATED if key in told else 1.0)
            for key, value in sentence.keys.items()
        )
        return -(keys + sentence.bonus) * sentence.factor / (_length(sentence.text) + OVERHEAD)

    last = {(sentence.speaker, sentence.text): sentence.line for sentence in sentences}
    heap = [
        (worth(sentence), number)
        for number, sentence in enumerate(sentences)
        # Of equal sentences of one speaker only the last stays: it is what the speaker means now.
        if last[sentence.speaker, sentence.text] == sentence.line
    ]
    heapq.heapify(heap)
    ranked: list[Sentence] = []
    while heap:
        _, number = heap[0]
        now = worth(sentences[number])
        heapq.heapreplace(heap, (now, number))
        if heap[0] == (now, number):
            heapq.heappop(heap)
            ranked.append(sentences[number])
            told.update(sentences[number].keys)
    return ranked


def _rarity(sentences: Sequence[Sentence]) -> dict[str, float]:
    """Return, for each key, how rarely it occurs: from about 0 (everywhere) to 1 (once)."""
    often = Counter(key for sentence in sentences for key in sentence.keys)
    most = math.log(len(sentences) + 1) or 1.0
    return {key: 1 - math.log(number) / most for key, number in often.items()}


def _told(sentences: Sequence[Sentence], heading: str) -> str:
    """Return sentences in their original order, those of one message on one line."""
    lines = [heading] if heading else []
    in_order = sorted(sentences, key=lambda sentence: (sentence.line, sentence.place))
    for _, of_one_line in groupby(in_order, key=lambda sentence: sentence.line):
        quoted = list(of_one_line)
        speaker = f"{quoted[0].speaker}: " if quoted[0].speaker else ""
        lines.append(speaker + " ".join(sentence.text for sentence in quoted))
    return _encodable("\n".join(lines))


def _encodable(text: str) -> str:
    """Return a text without lone surrogates: JSON may hold them, but no client can send them."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
