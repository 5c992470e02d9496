"""
What a window of a quarter of the conversation keeps: the digest, `drop-oldest`, random sentences.

Random sentences have the length of the digest. There are two measures.

*Planted*: a sentence with an order number, a date, a name or a decision is added to each of many
real conversations (tau_bench in English, CrossWOZ in Chinese), at a random place. The fact is kept
if its words are in the window, letter by letter.

*Asked*: MemoryBank's probing questions come without answers. So the evidence for a question is the
sentence of the conversation that shares the rarest words with it and is not itself a question. It
is kept if one line of the window has three quarters of its words.

The budget is what must be kept plus a quarter of the rest, and the conversation is played turn by
turn.

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
# The weights of the digest were chosen on every second conversation, starting with the first, and
# on half of the sentences.
PARTS = ("chosen on", "held out")
# Sentences by kind of fact; what fills the gap must still be in the window. Those on the right were
# held out.
Templates = dict[str, tuple[list[str], list[str]]]
ENGLISH: Templates = {
    "number": (
        [
            "By the way, my order number is {}.",
            "My loyalty card ends in {}.",
            "The parcel weighs {} grams.",
            "Quote {} when you ring the warehouse.",
            "It says {} on the back of the box.",
        ],
        ["You will find it under {} in your system.", "The meter showed {} this morning."],
    ),
    "date": (
        [
            "I have to be there on {}.",
            "The warranty runs out on {}.",
            "We moved the meeting to {}.",
            "Nobody is at home until {}.",
            "The painters come on {}.",
        ],
        ["Our lease ends on {}.", "Could the courier come by on {} please."],
    ),
    "name": (
        [
            "My sister {} will travel with me.",
            "Please send a copy to {}.",
            "The contract is signed by {}.",
            "The keys are with {} next door.",
            "It was {} who paid for it.",
        ],
        ["Ask for {} at the front desk.", "{} already has a spare key."],
    ),
    "decision": (
        [
            "We decided to {}.",
            "I agree to {}.",
            "Please remember to {}.",
            "In the end I chose to {}.",
            "All in all I would rather {}.",
            "Fine, let us {} then.",
        ],
        ["Okay, the plan is to {}.", "My husband and I talked it over, and we {}."],
    ),
}
CHINESE: Templates = {
    "number": (
        [
            "对了，我的订单号是{}。",
            "我的会员卡尾号是{}。",
            "这个包裹重{}克。",
            "给仓库打电话的时候报{}就行。",
            "盒子背面写着{}。",
        ],
        ["在你们系统里应该能查到{}。", "今天早上电表显示{}。"],
    ),
    "date": (
        [
            "我必须在{}到那里。",
            "保修期到{}为止。",
            "我们把会议改到了{}。",
            "{}之前家里没有人。",
            "刷墙的师傅{}过来。",
        ],
        ["我们的租约{}到期。", "快递麻烦{}再来一趟。"],
    ),
    "name": (
        [
            "我姐姐{}会和我一起去。",
            "请抄送一份给{}。",
            "合同是{}签的。",
            "钥匙在隔壁{}那儿。",
            "当时是{}付的钱。",
        ],
        ["到前台找{}就可以。", "{}那里已经有一把备用钥匙了。"],
    ),
    "decision": (
        [
            "我们决定{}。",
            "我同意{}。",
            "请记得{}。",
            "最后我选择了{}。",
            "总的来说我还是想{}。",
            "那行，咱们就{}吧。",
        ],
        ["好，那方案就是{}。", "我和我先生商量过了，{}。"],
    ),
}
FILL: dict[str, dict[str, list[str]]] = {
    "en": {
        "name": [
            "Beatrix Holloway",
            "Tom Okafor",
            "Priya Raman",
            "Lena Sørensen",
            "Marcus Webb",
            "Yuki Tanabe",
        ],
        "decision": [
            "skip the insurance",
            "keep the old supplier",
            "pay by bank transfer",
            "leave the red one out",
        ],
        "date": ["March 3rd", "July 19", "2027-02-11", "the 5th of October", "Friday 22 January"],
    },
    "zh": {
        "name": ["欧阳若兰", "陈思远", "林晓彤", "赵国强", "司马清", "王美玲"],
        "decision": ["不买保险", "保留原来的供应商", "用银行转账付款", "去掉红色的那个"],
        "date": ["三月三日", "7月19日", "2027年2月11日", "十月五号", "1月22日星期五"],
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
    for part, name in enumerate(PARTS):
        chosen = slice(part, None, 2)
        rows = []
        for corpus, language in (("tau_bench", "en"), ("crosswoz", "zh")):
            cases = list(planted(conversations(f"{corpus}/conversations")[chosen], language, part))
            rows += [[corpus, kind, *shares] for kind, shares in table(cases, keepers)]
        for language in ("en", "zh"):
            cases = list(asked(conversations(f"memorybank/conversations_{language}")[chosen]))
            rows += [
                [f"memorybank {language}", kind, *shares] for kind, shares in table(cases, keepers)
            ]
        print(f"\n{name}:")
        print_table(["conversations", "facts", *keepers, "digest / drop-oldest"], rows)


def conversations(path: str) -> list[dict[str, Any]]:
    """Return the conversations of a file."""
    folder = data_folder()
    if folder is None:
        sys.exit("no recorded conversations: set CTXWIN_DATA")
    with gzip.open(folder / f"{path}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


Case = tuple[list[Wire], list[tuple[str, Callable[[str], bool]]]]
"""A conversation and its facts: for each a kind, and a test whether a window's text has it."""


def planted(found: list[dict[str, Any]], language: str, part: int) -> Iterator[Case]:
    """Yield conversations, each with one of forty facts said in it."""
    random = Random(language)
    templates, fill = (ENGLISH if language == "en" else CHINESE), FILL[language]
    facts = []
    for number in range(FACTS):
        kind = list(templates)[number % len(templates)]
        needle = (
            str(random.randint(10_000, 99_999_999))
            if kind == "number"
            else random.choice(fill[kind])
        )
        facts.append((random.choice(templates[kind][part]).format(needle), needle, kind))
    for position, conversation in enumerate(found):
        messages = [dict(message) for message in conversation["messages"]]
        whole = "\n".join(str(message.get("content")) for message in messages)
        spoken = [
            m
            for m in messages
            if m["role"] in ("user", "assistant") and isinstance(m.get("content"), str)
        ]
        text, needle, kind = facts[position % FACTS]
        random.choice(spoken)["content"] += f" {text}"
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
                key=lambda s: (
                    sum(1 / math.log(1 + often[w]) for w in words(s) & wanted)
                    / math.sqrt(4 + len(words(s)))
                ),
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
            (kept[name].total() / total.total())
            if kind == "all"
            else kept[name][kind] / total[kind]
            for name in keepers
        ]
        ratio = f"{shares[-1] / shares[0]:.2f}" if shares[0] else "-"
        yield kind, [*(f"{share:.0%}" for share in shares), ratio]


def played(messages: Sequence[Wire], strategy: object) -> str:
    """Play a conversation in a quarter of its size; return the text of the last window."""
    counter = counter_for("gpt-4o")
    costs = [counter.count_message(message) for message in messages]
    always = (
        sum(cost for cost, m in zip(costs, messages, strict=True) if m["role"] == "system")
        + costs[-1]
        + 3
    )
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
    """Summarises by quoting at random."""

    def __call__(self, messages: Sequence[Message], previous: str | None, max_tokens: int) -> str:
        """Return as many sentences as fit."""
        count = counter_for("gpt-4o").count_text
        texts = [*(previous or "").splitlines(), *(str(message.content) for message in messages)]
        found = [
            s.strip()
            for text in texts
            for s in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n", text)
            if s.strip()
        ]
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
