"""From messages to sentences, each with what it tells: names, numbers, decisions; the reading half of the digest."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ctxwin.graphemes import floor_boundary
from ctxwin.messages import RESULT_ROLES, Message

LONGEST = 160  # characters of a sentence; longer ones are taken apart at commas, then anywhere
LONGEST_CJK = 60
RECORD = 200  # characters of a line that tells of a JSON object

NUMBER, TITLE, NAME, PLACE, WORD, BIGRAM = 3.0, 3.0, 2.0, 1.0, 0.3, 0.15  # what it is worth to tell of one
DECISION, OPEN_QUESTION, PERSONAL = 3.0, 3.0, 1.0  # what a sentence is worth beside that
ANSWERED = 0.4  # what is left of a question that was answered: the answer tells more
CHATTER = 0.25  # what is left of a sentence that is polite
FROM_TOOLS = 0.25  # what is left of what a program said: it can be asked again
FROM_USER = 1.2  # what a user says counts for more: nobody else can be asked

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；!?])|\n+")  # noqa: RUF001 - Chinese
_CLAUSE = re.compile(r"(?<=[,;:])\s+|(?<=[，；：、])")  # noqa: RUF001 - Chinese
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱林郭罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈曾彭吕苏"
    "卢蒋蔡贾丁魏薛叶阎潘杜戴夏钟汪姜范廖邹熊陆郝孔崔康邱秦侯孟龙钱汤尹黎贺赖龚"
)
_CJK_RUN = re.compile(f"[{_CJK}]+")
_NUMBER = re.compile(
    r"[#$€£¥]?[\w@.+-]{0,40}\d[\w@.,:/%#+-]{0,40}|[\w.+-]{1,40}@[\w.-]{1,40}|https?://\S{1,80}", re.ASCII
)
_CJK_NUMBER = re.compile("[零〇一二两三四五六七八九十百千万半]+[点号月日年元块岁楼层]")
_TITLE = re.compile('《[^》]{1,40}》|「[^」]{1,40}」|“[^”]{1,40}”|"[^"]{2,40}"')
_NAME = re.compile(r"\b[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)*")  # noqa: RUF001 - an apostrophe
_CJK_NAME = re.compile(
    f"(?:叫|名字是|我是|姓|姐姐|妹妹|哥哥|弟弟|妈妈|爸爸|朋友|同事|同学|经理|老师)([{_CJK}]{{2,4}})"
    f"|((?:欧阳|司马|上官|诸葛|皇甫|令狐|慕容)[{_CJK}]{{1,2}})"
    f"|([{_SURNAMES}][{_CJK}]{{1,2}})(?=先生|女士|小姐|老师|经理|医生|教授|[签谈说会去来，。！？的]|$)"  # noqa: RUF001
)
_CJK_PLACE = re.compile(
    f"[{_CJK}]{{2,8}}?(?:路|街|区|市|省|大学|学院|医院|公园|餐厅|酒店|饭店|宾馆|博物馆|镇|村|站|店|公司)"
)
_WORD = re.compile(r"[^\W\d_]{4,40}")
_DECISION = re.compile(
    r"\b(?:decid|agree|confirm|cancel|cho[os]|book|refund|promis|must\b|never\b|always\b|prefer|instead|schedul|deadline"
    r"|appointment|approv|reject|won't|don't|do not|plan(?:s|ned)? to|going to|name is|allerg|remember)"
    "|决定|同意|确认|取消|选择|选了|预订|预定|退款|必须|不要|一定|打算|计划|准备|喜欢|讨厌|过敏|约好|改成|安排|记得",
    re.IGNORECASE,
)
_PERSONAL = re.compile(r"\b(?:my|our|i am|i'm)\b|我的|我叫|我是|我家|我们|我[姐妹哥弟妈爸]", re.IGNORECASE)
_CHATTER = re.compile(
    r"\b(?:thank|welcome|glad|happy to|pleas(?:ed|ure)|hello|hi\b|hey\b|sorry|nice (?:day|to)|great day|let me know"
    r"|feel free|anything else|of course|good luck|assist you|help you|no problem|you too)"
    "|谢谢|感谢|不客气|你好|您好|好的|没问题|没关系|有什么.{0,6}帮|随时|加油|再见|很高兴|希望.{0,8}帮助|祝您|祝你",
    re.IGNORECASE,
)
_DEFERS = re.compile(
    r"\b(?:let me|i'll (?:check|look|ask|find)|one moment|get back)|稍等|我查|稍后|回头", re.IGNORECASE
)
_LINE = re.compile(r"([\w .-]{1,40}): (.+)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    A sentence of a conversation.

    Attributes:
        line: the number of its message or line: sentences of one line are told together.
        speaker: a role or a name; `""` where it is not known.
        text: the sentence.
        keys: what it tells of -> what that is worth.
        bonus: what it is worth beside that.
        factor: what is left of its worth, 0 to 1.
    """

    line: int
    speaker: str
    text: str
    keys: dict[str, float]
    bonus: float
    factor: float


def sentences_of(messages: Iterable[Message], summary: str | None) -> list[Sentence]:
    """Return the sentences of an earlier summary, then of messages, oldest first."""
    found: list[Sentence] = []
    lines = [line for line in (summary or "").splitlines() if not line.endswith((":", "："))]  # noqa: RUF001 - Chinese
    for number, line in enumerate(lines):
        told = _LINE.fullmatch(line.strip())
        speaker, text = told.groups() if told else ("", line)
        found += [_sentence(number, speaker, part, 1.0) for part in split(text)]
    messages = list(messages)
    for number, message in enumerate(messages):
        after = messages[number + 1 : number + 2]
        waits = not after or any(_DEFERS.search(text) for text in _texts(after[0]))
        speaker = message.name or message.role
        factor = FROM_TOOLS if message.role in RESULT_ROLES else FROM_USER if message.role == "user" else 1.0
        for text in _texts(message):
            found += [
                _sentence(len(lines) + number, speaker, part, factor, waits=waits and message.role == "user")
                for part in split(text)
            ]
    return found


def split(text: str) -> Iterator[str]:
    """Yield the sentences of a text; long ones in parts."""
    for sentence in _END.split(text):
        limit = LONGEST_CJK if _CJK_RUN.search(sentence) else LONGEST
        parts = [sentence] if len(sentence) <= limit else _CLAUSE.split(sentence)
        for part in _joined(parts, limit):
            while len(part) > limit:
                end = part.rfind(" ", 1, limit) if " " in part[1:limit] else floor_boundary(part, limit) or limit
                yield part[:end].strip()
                part = part[end:]  # noqa: PLW2901 - what is left of it
            if part.strip(" \t\r-*#|>_=`"):
                yield part.strip()


def _joined(clauses: Iterable[str], limit: int) -> Iterator[str]:
    """Yield clauses, joined as long as they stay within the limit."""
    line = ""
    for clause in clauses:
        if line and len(line) + len(clause) >= limit:
            yield line
            line = ""
        line += (" " if line and line[-1].isascii() else "") + clause
    yield line


def _texts(message: Message) -> Iterator[str]:
    """Yield what a message says, its calls and the objects of a JSON document a line each."""
    content = message.content
    for text in [content] if isinstance(content, str) else [part.get("text") for part in content or ()]:
        if isinstance(text, str):
            yield from _records(text) if text.lstrip()[:1] in ("{", "[") else (text,)
    for call in message.tool_calls:
        function = call.get("function") or call.get("custom") or {}
        yield f"{function.get('name')}({function.get('arguments') or function.get('input')})"


def _records(text: str) -> Iterator[str]:
    """Yield the objects of a JSON document, `key value` pairs a line each; a text that is none as it is."""
    try:
        waiting: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        yield text
        return
    while waiting:
        value = waiting.pop()
        pairs = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
        waiting += [item for _, item in reversed(pairs) if isinstance(item, dict | list)]
        shown = [f"{key} {item}".strip() for key, item in pairs if not isinstance(item, dict | list)]
        yield from _joined((f"{pair}," for pair in shown), RECORD)


def _sentence(line: int, speaker: str, text: str, factor: float, *, waits: bool = False) -> Sentence:
    """Read a sentence; `waits` says that a question in it has no answer yet."""
    keys = _keys(text)
    bonus = DECISION if _DECISION.search(text) else PERSONAL if _PERSONAL.search(text) else 0.0
    if text.endswith(("?", "？")):  # noqa: RUF001 - Chinese
        bonus, factor = (OPEN_QUESTION, factor) if waits else (0.0, factor * ANSWERED)
    if _CHATTER.search(text) and bonus < OPEN_QUESTION:
        factor *= CHATTER
    return Sentence(line, speaker, text, keys, bonus, factor)


def _keys(text: str) -> dict[str, float]:
    """Return what a sentence tells of, lower case, and what each is worth."""
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
