"""
What is still in a window of a quarter of the conversation: digest, `drop-oldest`, random sentences of the same length.

Two measures. *Planted*: sentences with an order number, a date, a name, a decision are added to real conversations
(tau_bench in English, CrossWOZ in Chinese), one each, at a random place; a fact is kept if its words are in the
window, letter by letter. *Asked*: MemoryBank's probing questions come without answers, so for each the sentence of
the conversation, no question itself, that shares the rarest words with it is taken for its evidence, which is kept if
one line of the window has three quarters of its words. The budget is what must be kept plus a quarter of the rest,
and the conversation is played turn by turn.

    python tests/bench/keeping.py
"""

import gzip
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.corpus import Wire, data_folder, print_table
from ctxwin import BudgetError, ContextManager, Message
from ctxwin.counting import counter_for
from ctxwin_plugins.summarize_history import SummarizeHistory

FACTS = 40
# The weights of the digest were chosen on every second conversation, from the first on.
PARTS = {"chosen on": slice(0, None, 2), "held out": slice(1, None, 2)}
# A sentence, and what of it must still be there.
ENGLISH = [
    ("By the way, my order number is {n}.", "{n}", "number"),
    ("The confirmation code you gave me last time was {n}.", "{n}", "number"),
    ("My loyalty card ends in {n}.", "{n}", "number"),
    ("The parcel weighs {n} grams.", "{n}", "number"),
    ("I have to be there on {d}.", "{d}", "date"),
    ("The warranty runs out on {d}.", "{d}", "date"),
    ("We moved the meeting to {d}.", "{d}", "date"),
    ("My birthday is on {d}.", "{d}", "date"),
    ("My sister {p} will travel with me.", "{p}", "name"),
    ("Please send a copy to {p}.", "{p}", "name"),
    ("I spoke with {p} from your team.", "{p}", "name"),
    ("The contract is signed by {p}.", "{p}", "name"),
    ("We decided to {c}.", "{c}", "decision"),
    ("I agree to {c}.", "{c}", "decision"),
    ("Please remember to {c}.", "{c}", "decision"),
    ("In the end I chose to {c}.", "{c}", "decision"),
]
CHINESE = [
    ("对了，我的订单号是{n}。", "{n}", "number"),
    ("上次您给我的确认码是{n}。", "{n}", "number"),
    ("我的会员卡尾号是{n}。", "{n}", "number"),
    ("这个包裹重{n}克。", "{n}", "number"),
    ("我必须在{d}到那里。", "{d}", "date"),
    ("保修期到{d}为止。", "{d}", "date"),
    ("我们把会议改到了{d}。", "{d}", "date"),
    ("我的生日是{d}。", "{d}", "date"),
    ("我姐姐{p}会和我一起去。", "{p}", "name"),
    ("请抄送一份给{p}。", "{p}", "name"),
    ("我和你们团队的{p}谈过了。", "{p}", "name"),
    ("合同是{p}签的。", "{p}", "name"),
    ("我们决定{c}。", "{c}", "decision"),
    ("我同意{c}。", "{c}", "decision"),
    ("请记得{c}。", "{c}", "decision"),
    ("最后我选择了{c}。", "{c}", "decision"),
]
FILL: dict[str, dict[str, Sequence[str]]] = {
    "en": {
        "p": ["Beatrix Holloway", "Tom Okafor", "Priya Raman", "Lena Sørensen", "Marcus Webb", "Yuki Tanabe"],
        "c": ["skip the insurance", "keep the old supplier", "pay by bank transfer", "leave the red one out"],
        "d": ["March 3rd", "July 19", "2027-02-11", "the 5th of October", "Friday 22 January"],
    },
    "zh": {
        "p": ["欧阳若兰", "陈思远", "林晓彤", "赵国强", "司马清", "王美玲"],
        "c": ["不买保险", "保留原来的供应商", "用银行转账付款", "去掉红色的那个"],
        "d": ["三月三日", "7月19日", "2027年2月11日", "十月五号", "1月22日星期五"],
    },
}
Keeper = Callable[[], Any]


def main() -> None:
    """Print both tables."""
    keepers: dict[str, Keeper] = {
        "drop-oldest": lambda: "drop-oldest",
        "random sentences": lambda: SummarizeHistory(RandomSentences()),
        "digest": lambda: "summarize-history",
    }
    for part, chosen in PARTS.items():
        rows = []
        for corpus, language in (("tau_bench", "en"), ("crosswoz", "zh")):
            cases = list(planted(conversations(f"{corpus}/conversations")[chosen], language))
            rows += [[corpus, kind, *shares] for kind, shares in table(cases, keepers)]
        for language in ("en", "zh"):
            cases = list(asked(conversations(f"memorybank/conversations_{language}")[chosen]))
            rows += [[f"memorybank {language}", kind, *shares] for kind, shares in table(cases, keepers)]
        print(f"\n{part}:")
        print_table(["conversations", "facts", *keepers, "digest / drop-oldest"], rows)


def conversations(path: str) -> list[dict[str, Any]]:
    """Return the conversations of a file."""
    folder = data_folder()
    if folder is None:
        sys.exit("no recorded conversations: set CTXWIN_DATA")
    with gzip.open(folder / f"{path}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


Case = tuple[list[Wire], list[tuple[str, Callable[[str], bool]]]]
"""A conversation, and its facts: a kind each, and whether a window's text still has it."""


def planted(found: list[dict[str, Any]], language: str) -> Iterator[Case]:
    """Yield conversations, each with one of forty facts said in it."""
    random = Random(language)
    templates, fill = (ENGLISH if language == "en" else CHINESE), FILL[language]
    facts = []
    for number in range(FACTS):
        text, needle, kind = templates[number % len(templates)]
        values = {name: random.choice(options) for name, options in fill.items()}
        values["n"] = str(random.randint(10_000, 99_999_999))
        facts.append((text.format(**values), needle.format(**values), kind))
    for position, conversation in enumerate(found):
        messages = [dict(message) for message in conversation["messages"]]
        whole = "\n".join(str(message.get("content")) for message in messages)
        places = [
            n
            for n, m in enumerate(messages)
            if m["role"] in ("user", "assistant") and isinstance(m.get("content"), str)
        ]
        text, needle, kind = facts[position % FACTS]
        messages[random.choice(places)]["content"] += f" {text}"
        assert needle not in whole
        yield messages, [(kind, partial(contains, needle))]


def asked(found: list[dict[str, Any]]) -> Iterator[Case]:
    """Yield conversations, each with the evidence of what is asked about them."""
    for conversation in found:
        messages = conversation["messages"]
        sentences = [
            s
            for m in messages
            for s in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", m["content"])
            if s.strip() and s[-1] not in "?？"
        ]
        often = Counter(word for sentence in sentences for word in words(sentence))
        evidence: list[tuple[str, Callable[[str], bool]]] = []
        for question in conversation["meta"]["probing_questions"] or ():
            wanted = words(question)
            best = max(
                sentences,
                key=lambda s: sum(1 / math.log(1 + often[w]) for w in words(s) & wanted) / math.sqrt(4 + len(words(s))),
            )
            evidence.append(("evidence", partial(has, words(best))))
        yield messages, evidence


def words(text: str) -> set[str]:
    """Return the words of a text, and the pairs of Chinese characters."""
    runs = re.findall(r"[\u4e00-\u9fff]+", text)
    return {word.lower() for word in re.findall(r"[A-Za-z0-9]{3,}", text)} | {
        run[n : n + 2] for run in runs for n in range(len(run) - 1)
    }


def contains(needle: str, window: str) -> bool:
    """Return whether the window has the words, letter by letter."""
    return needle in window


def has(wanted: set[str], window: str) -> bool:
    """Return whether one line of the window has three quarters of the words."""
    return any(len(wanted & words(line)) >= 0.75 * len(wanted) for line in window.splitlines())


def table(cases: Sequence[Case], keepers: dict[str, Keeper]) -> Iterator[tuple[str, list[str]]]:
    """Yield each kind of fact with the share that each keeper kept."""
    kept: dict[str, Counter[str]] = {name: Counter() for name in keepers}
    total: Counter[str] = Counter()
    for messages, facts in cases:
        total.update(kind for kind, _ in facts)
        for name, make in keepers.items():
            window = played(messages, make())
            kept[name].update(kind for kind, is_in in facts if is_in(window))
    for kind in [*sorted(total), "all"] if len(total) > 1 else total:
        shares = [
            (kept[name].total() / total.total()) if kind == "all" else kept[name][kind] / total[kind]
            for name in keepers
        ]
        ratio = f"{shares[-1] / shares[0]:.2f}" if shares[0] else "-"
        yield kind, [*(f"{share:.0%}" for share in shares), ratio]


def played(messages: Sequence[Wire], strategy: object) -> str:
    """Play a conversation turn by turn in a quarter of its size; return the text of the last window."""
    counter = counter_for("gpt-4o")
    costs = [counter.count_message(message) for message in messages]
    always = sum(cost for cost, m in zip(costs, messages, strict=True) if m["role"] == "system") + costs[-1] + 3
    budget = always + (sum(costs) - always) // 4
    ctx = ContextManager(budget, strategies=[strategy], counter=counter)
    for message in messages:
        ctx.append(message)
        if message["role"] == "user":
            try:
                ctx.messages()
            except BudgetError:
                continue  # an early turn that is larger than the whole budget
    try:
        window = ctx.messages()
    except BudgetError:
        return ""
    return "\n".join(str(message["content"]) for message in window)


class RandomSentences:
    """Sums up by quoting at random."""

    def __call__(self, messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        """Return as many sentences as fit."""
        count = counter_for("gpt-4o").count_text
        texts = [*(previous or "").splitlines(), *(str(message.content) for message in messages)]
        found = [s.strip() for text in texts for s in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n", text) if s.strip()]
        chosen: set[int] = set()
        cost = 0
        for number in Random(len(found)).sample(range(len(found)), len(found)):
            cost += count(found[number]) + 1
            if cost > max_tokens:
                break
            chosen.add(number)
        return "\n".join(found[number] for number in sorted(chosen)) or "-"


if __name__ == "__main__":
    main()
