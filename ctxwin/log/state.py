"""
A conversation as JSON, and back.

The state holds the log, what plans made of it, and every figure that decides a window. Budget,
strategies, counter and tools are the caller's options and are given again. Costs are stored under
the counter's name and reused by the same named counter; a nameless counter counts again.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ctxwin.counting.costs import BOUNDS
from ctxwin.log.conversation import Conversation
from ctxwin.log.history import Entry
from ctxwin.values.errors import CounterError, MessageError, StateError
from ctxwin.values.message import Message, call_keys, read_message
from ctxwin.values.plan import make_unit
from ctxwin.values.wire import RESULT_ROLES

SCHEMA = 1


def dump(conversation: Conversation) -> dict[str, Any]:
    """Return the state: JSON values only, nothing shared with the conversation."""
    name = conversation.costs.name
    return {
        "schema": SCHEMA,
        "counter": name,
        "next_id": conversation.next_id,
        "appended": conversation.history.appended,
        "offset": conversation.costs.offset,
        "correction": conversation.costs.correction,
        "adjustment": conversation.adjustment,
        "sent_tokens": conversation.sent_tokens,
        "prepared": conversation.prepared,
        "settled": not conversation.history.dirty and conversation.nothing_new,
        "failures": conversation.breaker.dump(),
        "log": [
            _dump_entry(entry, named=bool(name)) for entry in conversation.history.entries.values()
        ],
        "written": [
            {
                "id": message.id,
                "message": message.to_dict(),
                "pinned": message.pinned,
                "sources": list(message.sources),
                "source_hash": message.source_hash,
                "tokens": conversation.window.written[message.id] if name else None,
            }
            for message in (unit.messages[0] for unit in conversation.window.units if unit.written)
        ],
    }


def load(state: object, conversation: Conversation) -> None:
    """
    Fill a new conversation from a state.

    Raises:
        StateError: it is of another schema, malformed or contradicts itself; the text says where.
    """
    try:
        _load(_Reader(state, "state"), conversation)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise StateError(f"the state contradicts itself: {error!r}") from error


def _load(fields: "_Reader", conversation: Conversation) -> None:
    schema = fields.get("schema", int)
    if schema != SCHEMA:
        raise StateError(f"the state is of schema {schema}, this release reads {SCHEMA}")
    same_name = fields.get("counter", str) == conversation.costs.name
    same_counter = same_name and conversation.costs.name != ""
    try:
        for position, item in enumerate(fields.get("log", list)):
            _load_entry(_Reader(item, f"log[{position}]"), conversation, same_counter=same_counter)
        _check_gone(conversation)
        with suppress(CounterError):  # what cannot be counted now is counted when it is needed
            conversation.window.settle()
        for position, item in enumerate(fields.get("written", list)):
            _load_written(
                _Reader(item, f"written[{position}]"), conversation, same_counter=same_counter
            )
    except MessageError as error:
        raise StateError(f"the state holds a malformed message: {error}") from error
    _load_figures(fields, conversation, same_counter=same_name)


def _load_figures(fields: "_Reader", conversation: Conversation, *, same_counter: bool) -> None:
    next_id = fields.get("next_id", int)
    if next_id < conversation.next_id:
        raise StateError(f"next_id is {next_id}, but message {conversation.next_id - 1} exists")
    conversation.next_id = next_id
    conversation.history.appended = fields.get(
        "appended", int, at_least=len(conversation.history.entries)
    )
    offset, correction = (
        fields.get("offset", int),
        fields.get("correction", int, at_least=BOUNDS[0]),
    )
    least = -conversation.window.total_tokens if same_counter else None
    adjustment = fields.get("adjustment", int, at_least=least)
    sent_tokens = fields.get("sent_tokens", int, optional=True)
    if correction > BOUNDS[1] or (
        same_counter and adjustment and conversation.costs.sums_are_exact
    ):
        raise StateError(
            f"no manager gets to a correction of {correction} and an adjustment of {adjustment}"
        )
    if same_counter:  # what was learnt of one counter says nothing of another
        before = conversation.costs.correction
        conversation.costs.restore(offset, correction)
        conversation.adjustment, conversation.sent_tokens = adjustment, sent_tokens
        if conversation.costs.correction != before:
            conversation.window.recost()
    failures = fields.get("failures", dict)
    for name, record in failures.items():
        if not (
            isinstance(record, list)
            and len(record) == 2
            and all(type(figure) is int for figure in record)
        ):
            raise StateError(f"state['failures'][{name!r}] must be two integers, not {record!r}")
    conversation.breaker.load(failures)
    conversation.prepared = fields.get("prepared", str)
    conversation.version += 1
    if fields.get("settled", bool):
        conversation.settled = conversation.version


def _check_gone(conversation: Conversation) -> None:
    """Raise `StateError` where the log says that something is gone which no window may lack."""
    history = conversation.history
    question = history.question
    for entry in history.entries.values():
        slot, path = entry.slot, f"message {entry.message.id}"
        if slot.gone and (entry.message.pinned or entry is question or slot.missing or slot.orphan):
            raise StateError(f"{path} is gone, which no plan can have brought about")


def _dump_entry(entry: Entry, *, named: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": entry.message.id,
        "message": entry.message.to_dict(),
        "pinned": entry.message.pinned,
        "gone": entry.slot.gone,
        "tokens": entry.tokens if named else None,
    }
    if entry.edited is not None:
        item["edited"] = {
            "content": entry.edited.content,
            "tokens": entry.edited_tokens if named else None,
        }
    return item


def _load_entry(fields: "_Reader", conversation: Conversation, *, same_counter: bool) -> None:
    message_id = fields.get("id", int)
    if message_id < conversation.next_id:
        raise StateError(f"{fields.path}: ids must ascend, {message_id} does not")
    message = Message(
        message_id, read_message(fields.get("message", dict)), fields.get("pinned", bool)
    )
    tokens = fields.get("tokens", int, optional=True)
    entry = conversation.history.append(message, tokens if same_counter else None)
    gone = fields.get("gone", bool)
    if len(entry.slot.entries) > 1 and entry.slot.gone != gone:
        raise StateError(f"{fields.path}: a part of a tool exchange cannot be gone")
    entry.slot.gone = gone
    conversation.next_id = message_id + 1
    if fields.has("edited"):
        edit = _Reader(fields.get("edited", dict), f"{fields.path}['edited']")
        entry.edited = message.with_content(edit.get("content", object))
        tokens = edit.get("tokens", int, optional=True)
        entry.edited_tokens = (
            tokens
            if same_counter and tokens is not None
            else conversation.costs.message(entry.edited, entry.slot.call_of(entry))
        )


def _load_written(fields: "_Reader", conversation: Conversation, *, same_counter: bool) -> None:
    sources = fields.get("sources", list)
    if (
        not sources
        or sorted(set(sources)) != sources
        or not all(type(source) is int for source in sources)
    ):
        raise StateError(f"{fields.path}: sources must be ascending ids, not {sources!r}")
    wire = read_message(fields.get("message", dict))
    source_hash = fields.get("source_hash", str)
    if source_hash.strip("0123456789abcdef") or len(source_hash) not in (0, 64):
        raise StateError(
            f"{fields.path}['source_hash'] must be 64 hexadecimal digits, not {source_hash!r}"
        )
    message = Message(
        fields.get("id", int), wire, fields.get("pinned", bool), tuple(sources), source_hash
    )
    if wire["role"] in RESULT_ROLES or call_keys(message) or sources[-1] >= message.id:
        raise StateError(f"{fields.path} is no message that a strategy can have written")
    tokens = fields.get("tokens", int, optional=True)
    if not same_counter or tokens is None:
        tokens = conversation.costs.message(message)
    if message.id in conversation.history.entries or message.id in conversation.window.written:
        raise StateError(f"{fields.path}: id {message.id} is taken")
    conversation.window.written[message.id] = tokens
    conversation.window.insert(make_unit([message], [conversation.costs.corrected(tokens)]))
    conversation.next_id = max(conversation.next_id, message.id + 1)


class _Reader:
    """Reads the fields of a mapping, each with its type."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise StateError(f"{path} must be a mapping, not {type(value).__name__}")
        self._fields = value
        self.path = path

    def has(self, key: str) -> bool:
        return key in self._fields

    def get(self, key: str, kind: type, *, optional: bool = False, at_least: int | None = 0) -> Any:
        """Return a field, or raise `StateError` where it is missing, of another type or too small."""
        if key not in self._fields:
            raise StateError(f"{self.path} lacks {key!r}")
        value = self._fields[key]
        if optional and value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise StateError(
                f"{self.path}[{key!r}] must be {kind.__name__}, not {type(value).__name__}"
            )
        if isinstance(value, int) and at_least is not None and value < at_least:
            raise StateError(f"{self.path}[{key!r}] must be at least {at_least}, not {value}")
        return value
