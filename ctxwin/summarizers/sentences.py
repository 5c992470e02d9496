"""
The reading half of the digest: splits messages into sentences and rates what each one says.

What counts are names, numbers, titles, decisions and open questions.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ctxwin.laws.graphemes import floor_boundary
from ctxwin.values.message import Message
from ctxwin.values.wire import RESULT_ROLES

LONGEST = 160  # characters of a sentence; a longer one is split at commas, or else anywhere
LONGEST_CJK = 60
RECORD = 200  # characters of a line about a JSON object

LONGEST_SPEAKER = 40  # characters
# Characters (Chinese ones count double) above which a sentence can be a decision: "I don't." is too
# short for one.
TELLING = 20

# What a sentence gains by each number, title and so on that it mentions.
NUMBER, TITLE, NAME, PLACE, WORD, BIGRAM = 3.0, 3.0, 3.0, 1.0, 0.3, 0.15
# What it gains once, by its kind.
DECISION, OPEN_QUESTION, PERSONAL = 3.0, 3.0, 1.0
# Factors of its worth.
ANSWERED = 0.4  # a question that was answered: the answer says more
CHATTER = 0.25  # a polite phrase
FROM_TOOLS = 0.25  # what a program said: the program can be asked again
FROM_USER = 1.2  # what the user said: nobody else can be asked

_LINES = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])")  # noqa: RUF001 - Chinese
_NO_END = re.compile(
    r"(?:^|\W)(?:\d{1,3}[.)]|(?:Dr|Mr|Mrs|Ms|No|St|vs|e\.g|i\.e|a\.m|p\.m|[A-Z])\.)$"
)
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,3}[.)])\s")
_CLAUSE = re.compile(r"(?<=[,;:])\s+|(?<=[，；：、])")  # noqa: RUF001 - Chinese
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱林郭罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈曾彭吕苏"
    "卢蒋蔡贾丁魏薛叶阎潘杜戴夏钟汪姜范廖邹熊陆郝孔崔康邱秦侯孟龙钱汤尹黎贺赖龚"
)
_CJK_RUN = re.compile(f"[{_CJK}]+")
_NUMBER = re.compile(
    r"[#$€£¥]?[\w@.+-]{0,40}\d[\w@.,:/%#+-]{0,40}|[\w.+-]{1,40}@[\w.-]{1,40}|https?://\S{1,80}",
    re.ASCII,
)
_CJK_NUMBER = re.compile("[零〇一二两三四五六七八九十百千万半]+[点号月日年元块岁楼层]")
_TITLE = re.compile('《[^》]{1,40}》|「[^」]{1,40}」|“[^”]{1,40}”|"[^"]{2,40}"')
_NAME = re.compile(r"\b[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)*")  # noqa: RUF001 - an apostrophe
# After a word like "called" or "sister"; a double surname; a surname before a title or a verb.
_CJK_NAME = re.compile(
    "(?:叫|名字是|我是|姓|姐姐|妹妹|哥哥|弟弟|妈妈|爸爸|朋友|同事|同学|经理|老师)"
    f"([{_CJK}]{{2,4}})"
    f"|((?:欧阳|司马|上官|诸葛|皇甫|令狐|慕容)[{_CJK}]{{1,2}})"
    f"|([{_SURNAMES}][{_CJK}]{{1,2}})"
    "(?=先生|女士|小姐|老师|经理|医生|教授|[签谈说会去来，。！？的]|$)"  # noqa: RUF001 - Chinese
)
_CJK_PLACE = re.compile(
    f"[{_CJK}]{{2,8}}?"
    "(?:路|街|区|市|省|大学|学院|医院|公园|餐厅|酒店|饭店|宾馆|博物馆|镇|村|站|店|公司)"
)
_WORD = re.compile(r"[^\W\d_]{4,40}")
_DECISION = re.compile(
    r"\b(?:decid|agree|confirm|cancel|cho[os]|settled|book(?:ed|ing)?\b|refund|promis|must\b"
    r"|never\b|prefer|instead"
    r"|schedul|deadline|appointment|approv|reject|won't|don't|do not|plan(?:s|ned)? to|going to"
    r"|rule[ds]? out|opt(?:ed)? for|go with|stick with|make sure|note that|name is|allerg|remember"
    r"|let's|let us|(?:would|i'd) (?:rather|like)|(?:i|we) (?:want|need|have) to|insist|only if"
    r"|unless)"
    "|决定|同意|确认|取消|选择|选了|定了|改用|预订|预定|退款|必须|不要|不用|务必|打算|计划"
    "|过敏|约好|改成|改到|说好|记得|记住|想要|还是|宁愿|那就|咱们就|需要|商量|坚持|除非",
    re.IGNORECASE,
)
_PERSONAL = re.compile(
    r"\b(?:my|our|i am|i'm|i (?:like|love|hate|prefer|live|work))\b"
    "|我的|我叫|我是|我家|我们|我住|我喜欢|我[姐妹哥弟妈爸]",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"\b(?:thank|welcome|glad|happy to|pleas(?:ed|ure)|hello|hi\b|hey\b|sorry|nice (?:day|to)"
    r"|great day|let me know"
    r"|feel free|anything else|of course|good luck|assist you|help you|no problem|you too)"
    "|谢谢|感谢|不客气|你好|您好|好的|没问题|没关系|有什么.{0,6}帮|随时|加油|再见|很高兴"
    "|希望.{0,8}帮助|祝您|祝你",
    re.IGNORECASE,
)
_DEFERS = re.compile(
    r"\b(?:let me|i'll (?:check|look|ask|find)|one moment|get back)|稍等|我查|稍后|回头",
    re.IGNORECASE,
)
_WORDS = {True: "true", False: "false", None: "null"}
_LINE = re.compile(r"([\w .-]{1,40}): (.+)")
_SPEAKER = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    A sentence of a conversation.

    Attributes:
        line: the number of its message or line; sentences of one line are quoted together.
        place: its number in that line.
        speaker: a role or a name; `""` if it is not known.
        text: the sentence; an ellipsis marks an end where it was cut.
        keys: what it mentions -> what that is worth.
        bonus: what the sentence is worth beside its keys.
        factor: the factor of its worth, below 1 for what matters less.
    """

    line: int
    place: int
    speaker: str
    text: str
    keys: dict[str, float]
    bonus: float
    factor: float


def sentences_of(
    messages: Sequence[Message], summary: str | None, headings: Collection[str] = ()
) -> list[Sentence]:
    """
    Return the sentences of an earlier summary and of the messages after it, oldest first.

    Args:
        messages: the messages.
        summary: the earlier summary, or None.
        headings: lines of the summary to leave out.
    """
    lines = [line for line in (summary or "").split("\n") if line not in headings]
    said = [_speaker_and_text(line) for line in lines]
    found = [
        _sentences(number, speaker, [text], waits=True)
        for number, (speaker, text) in enumerate(said)
    ]
    for number, message in enumerate(messages):
        # A question is open if nothing follows, or only a promise to look it up.
        after = messages[number + 1 : number + 2]
        waits = not after or any(_DEFERS.search(text) for text in _texts(after[0]))
        speaker = _SPEAKER.sub(" ", message.name or message.role).strip()[:LONGEST_SPEAKER]
        found.append(
            _sentences(
                len(lines) + number, speaker, _texts(message), waits=waits, role=message.role
            )
        )
    return [sentence for some in found for sentence in some]


def _speaker_and_text(line: str) -> tuple[str, str]:
    """Return the speaker and the text of a line of a digest, or `""` and the line."""
    told = _LINE.fullmatch(line.strip())
    return (told[1], told[2]) if told else ("", line)


def _sentences(
    line: int, speaker: str, texts: Iterable[str], *, waits: bool, role: str = ""
) -> list[Sentence]:
    """Return the sentences of one line; `waits` says that a question in it is still open."""
    role = role or speaker
    factor = FROM_TOOLS if role in RESULT_ROLES else FROM_USER if role == "user" else 1.0
    parts = (part for text in texts for part in split(text))
    return [
        _sentence(line, place, speaker, part, factor, waits=waits and role == "user")
        for place, part in enumerate(parts)
    ]


def split(text: str) -> Iterator[str]:
    """Yield the sentences of a text: a long one in parts, short items of a list together."""
    for paragraph in _paragraphs(_LINES.sub("\n", text)):
        for sentence in _whole(_END.split(paragraph)):
            limit = LONGEST_CJK if _CJK_RUN.search(sentence) else LONGEST
            clauses = (
                [sentence] if len(sentence) <= limit else _joined(_CLAUSE.split(sentence), limit)
            )
            parts = [part.strip() for clause in clauses for part in _cut(clause, limit)]
            for place, part in enumerate(parts):
                if sum(map(str.isalnum, part[:limit])) > 1:
                    yield ("…" if place else "") + part + ("…" if place < len(parts) - 1 else "")


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a text; short items of a list join the line before them."""
    block = ""
    for line in text.split("\n"):
        if block and _ITEM.match(line) and len(block) + len(line) < LONGEST:
            block += f" {line.strip()}"
            continue
        yield block
        block = line
    yield block


def _whole(parts: Iterable[str]) -> Iterator[str]:
    """
    Yield whole sentences.

    A period after the number of a list item, an abbreviation or an initial ends no sentence, so the
    part after it is joined again.
    """
    sentence: list[str] = []
    for part in parts:
        if sentence and not (_goes_on(sentence) or part[:1].islower()):
            yield " ".join(sentence)
            sentence = []
        if part or sentence:
            sentence.append(part)
    yield " ".join(sentence)


def _goes_on(sentence: Sequence[str]) -> bool:
    """Return whether the last period of a sentence, given in parts, does not end it."""
    return bool(_NO_END.search(" ".join(part[-8:] for part in sentence[-8:])[-8:]))


def _cut(text: str, limit: int) -> Iterator[str]:
    """Yield a text in parts of at most `limit` characters, cut at spaces or between graphemes."""
    start = 0  # what is left is never copied: each character is looked at a few times at most
    while len(text) - start > limit:
        end = text.rfind(" ", start + 1, start + limit)
        if end < 0:
            end = start + (floor_boundary(text[start : start + limit + 1], limit) or limit)
        yield text[start:end]
        start = end
    yield text[start:]


def _joined(clauses: Iterable[str], limit: int) -> Iterator[str]:
    """Yield clauses, joined as long as the result stays within the limit."""
    line = ""
    for clause in clauses:
        if line and len(line) + len(clause) >= limit:
            yield line
            line = ""
        line += (" " if line and line[-1].isascii() else "") + clause
    yield line


def _texts(message: Message) -> Iterator[str]:
    """Yield the texts of a message: its content, a refusal, and each of its calls."""
    content, extra = message.content, message.extra
    for text in (
        [content] if isinstance(content, str) else [part.get("text") for part in content or ()]
    ):
        if isinstance(text, str):
            yield from _records(text) if text.lstrip()[:1] in ("{", "[") else (text,)
    if isinstance(extra.get("refusal"), str):
        yield extra["refusal"]
    calls = [call.get("function") or call.get("custom") or {} for call in message.tool_calls]
    for call in [*calls, *([extra["function_call"]] if extra.get("function_call") else [])]:
        given = call.get("arguments") or call.get("input") or ""
        shown = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        yield f"{call.get('name')}({shown})"


def _records(text: str) -> Iterator[str]:
    """
    Yield a line for each object of a JSON document: its name and its `key value` pairs.

    A text that is not JSON is yielded as it is. Numbers are read as texts, so that they are quoted
    as they were written.
    """
    try:
        waiting: list[tuple[str, Any]] = [
            ("", json.loads(text, parse_float=str, parse_int=str, parse_constant=str))
        ]
    except (ValueError, RecursionError):
        yield text
        return
    while waiting:
        name, value = waiting.pop()
        pairs = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
        waiting += [
            (key or name, item) for key, item in reversed(pairs) if isinstance(item, dict | list)
        ]
        shown = [
            f"{key} {_WORDS.get(item, item)}".strip()
            for key, item in pairs
            if not isinstance(item, dict | list)
        ]
        for line in _joined([f"{pair}," for pair in shown[:-1]] + shown[-1:], RECORD):
            yield f"{name[:RECORD]}: {line}" if name and line else line  # a name may be long


def _sentence(
    line: int, place: int, speaker: str, text: str, factor: float, *, waits: bool
) -> Sentence:
    """Return a sentence, rated by what it says and who says it."""
    tells = len(text) + sum(map(len, _CJK_RUN.findall(text))) > TELLING
    bonus = PERSONAL if _PERSONAL.search(text) else 0.0
    if tells and _DECISION.search(text):
        bonus = DECISION
    asks = text.endswith(("?", "？"))  # noqa: RUF001 - Chinese
    is_open = waits and asks
    if is_open:
        bonus = OPEN_QUESTION
    elif asks:
        bonus, factor = 0.0, factor * ANSWERED
    if _CHATTER.search(text) and not is_open:
        factor *= CHATTER
    return Sentence(line, place, speaker, text, _keys(text), bonus, factor)


def _keys(text: str) -> dict[str, float]:
    """Return what a sentence mentions, in lower case, and what each mention is worth."""
    # From the least to the most valuable: a word that is also a name counts as a name.
    keys: dict[str, float] = {}
    for run in _CJK_RUN.findall(text):
        keys.update((run[at : at + 2], BIGRAM) for at in range(len(run) - 1))
    keys.update((word.lower(), WORD) for word in _WORD.findall(text))
    for match in _NAME.finditer(text):
        if match.start() or " " in match.group():  # the first word has a capital anyway
            keys[match.group().lower()] = NAME
    keys.update((place, PLACE) for place in _CJK_PLACE.findall(text))
    keys.update((name, TITLE) for found in _CJK_NAME.findall(text) for name in found if name)
    keys.update((number, NUMBER) for number in _CJK_NUMBER.findall(text))
    keys.update((title, TITLE) for title in _TITLE.findall(text))
    keys.update((number.strip(".,:-").lower(), NUMBER) for number in _NUMBER.findall(text))
    return keys
