"""
A conversation as JSON, and back.

The state holds the log, what cuts made of it, and every figure that decides a window. Budget,
strategies, counter and tools are the caller's options and are given again. Costs are stored under
the counter's name and reused by the same named counter; a nameless counter counts again.

Loading plays the state as changes, like everything else that happens to a conversation: an `Append`
for each message of the log, then one `Cut` for all that plans made of it.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxwin.counting.costs import BOUNDS
from ctxwin.log.changes import Append, Cut, Edited, Written
from ctxwin.log.history import LogMessage
from ctxwin.values.errors import CounterError, MessageError, StateError, describe, quoted
from ctxwin.values.message import Message
from ctxwin.values.wire import read_stored

if TYPE_CHECKING:
    from ctxwin.log.conversation import Conversation

SCHEMA = 1
LARGEST = 2**53  # figures are below it: exact in any JSON reader
ID_LIMIT = 2**48  # every id of a log is below it; those of a prune's own messages begin with it
DIGEST_LENGTHS = (0, 64)  # of a `source_hash`: none, or a SHA-256 in hexadecimal digits


def dump(conversation: "Conversation", *, counts: bool = False) -> dict[str, Any]:
    """
    Return the state: JSON values only, nothing shared with the conversation.

    The keys are those of schema 1, whatever the attributes are called today. With `counts` it holds
    the counts of a counter without a name, too, which nobody could know again.
    """
    costs = conversation.costs
    named = counts or bool(costs.name)
    written = [unit.messages[0] for unit in conversation.window.units if unit.written]
    return {
        "schema": SCHEMA,
        "counter": costs.name,
        "next_id": conversation.next_id,
        "appended": conversation.history.appended,
        "offset": costs.hidden_tokens,
        "correction": costs.scale,
        "adjustment": conversation.request_gap,
        "sent_tokens": conversation.sent_tokens,
        "prepared": conversation.prepared,
        "settled": not conversation.history.dirty and conversation.nothing_new,
        "failures": {name: list(figures) for name, figures in conversation.failures.items()},
        "log": [_dump_logged(one, named=named) for one in conversation.history.messages.values()],
        "written": [
            _dump_written(message, conversation.window.written[message.id] if named else None)
            for message in written
        ],
    }


def _dump_logged(logged: LogMessage, *, named: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": logged.message.id,
        "message": logged.message.to_dict(),
        "pinned": logged.message.pinned,
        "gone": logged.unit.gone,
        "tokens": logged.tokens if named else None,
    }
    if logged.unit.followed and logged is logged.unit.messages[0]:
        item["followed"] = logged.unit.followed
    if logged.edited is not None:
        tokens = logged.edited_tokens if named else None
        item["edited"] = {"content": logged.edited.content, "tokens": tokens}
    return item


def _dump_written(message: Message, tokens: int | None) -> dict[str, Any]:
    return {
        "id": message.id,
        "message": message.to_dict(),
        "pinned": message.pinned,
        "sources": list(message.sources),
        "source_hash": message.source_hash,
        "tokens": tokens,
    }


def load(
    state: object, conversation: "Conversation", *, counts: bool = False, settle: bool = True
) -> None:
    """
    Fill a new conversation from a state.

    Args:
        state: the state.
        conversation: the conversation.
        counts: whether the costs in it are by this very counter, though that has no name.
        settle: whether to count at once what another counter has to count.

    Raises:
        StateError: it is of another schema, malformed, or contradicts itself; the text says where.
    """
    try:
        _load(Fields(state, "state"), conversation, counts=counts, settle=settle)
    except MessageError as error:
        raise StateError(f"the state holds a malformed message: {error}") from error
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise StateError(f"the state contradicts itself: {describe(error)}") from error


def _load(fields: "Fields", conversation: "Conversation", *, counts: bool, settle: bool) -> None:
    schema = fields.get("schema", int)
    if schema != SCHEMA:
        raise StateError(f"the state is of schema {quoted(schema)}, this release reads {SCHEMA}")
    same_name = fields.get("counter", str) == conversation.costs.name
    # Whether the costs are those of this very counter.
    known = counts or (same_name and conversation.costs.name != "")
    hidden_tokens, scale = _load_learnt(fields)
    if same_name:  # what was learnt of one counter says nothing about another
        conversation.costs.learn(hidden_tokens, scale)
    cut = _load_log(fields, conversation, known=known)
    request_gap = fields.get("adjustment", int, at_least=None)
    conversation.apply(
        Cut(
            gone=cut.gone,
            written=_load_written(fields, known=known),
            edits=cut.edits,
            request_gap=request_gap if same_name else 0,
            failures=_load_failures(fields),
        )
    )
    if settle or same_name:
        with suppress(CounterError):  # what cannot be counted now is counted when it is needed
            conversation.window.settle()
    _load_figures(fields, conversation, same_counter=same_name)


def _load_learnt(fields: "Fields") -> tuple[int, int]:
    hidden_tokens = fields.get("offset", int, at_least=None)
    scale = fields.get("correction", int, at_least=BOUNDS[0])
    if scale > BOUNDS[1]:
        raise StateError(f"state['correction'] must be at most {BOUNDS[1]}, not {quoted(scale)}")
    return hidden_tokens, scale


def _load_log(fields: "Fields", conversation: "Conversation", *, known: bool) -> Cut:
    """Append the messages of the log; returns what a cut has dropped and edited of them."""
    gone: dict[int, bool] = {}
    edits: list[Edited] = []
    logged = conversation.history.messages
    for position, item in enumerate(fields.get("log", list)):
        reader = Fields(item, f"log[{position}]")
        message_id = reader.get("id", int)
        if message_id < conversation.next_id:
            raise StateError(f"{reader.path}: ids must ascend, {quoted(message_id)} does not")
        wire = read_stored(reader.get("message", dict))
        tokens = reader.get("tokens", int, optional=True)
        pinned = reader.get("pinned", bool)
        conversation.apply(Append(message_id, wire, pinned, tokens if known else None))
        dropped = reader.get("gone", bool)
        if gone.setdefault(logged[message_id].unit.first, dropped) != dropped:
            raise StateError(f"{reader.path}: a part of a tool exchange cannot be gone")
        if reader.has("followed"):
            unit = logged[message_id].unit
            conversation.history.follow(unit, reader.get("followed", int))
        if reader.has("edited"):
            edit = Fields(reader.get("edited", dict), f"{reader.path}['edited']")
            tokens = edit.get("tokens", int, optional=True)
            content = edit.get("content", object)
            edits.append(Edited(message_id, content, tokens if known else None))
    return Cut(tuple(first for first, dropped in gone.items() if dropped), edits=tuple(edits))


def _load_written(fields: "Fields", *, known: bool) -> tuple[Written, ...]:
    found = []
    for position, item in enumerate(fields.get("written", list)):
        reader = Fields(item, f"written[{position}]")
        sources = reader.get("sources", list)
        if not all(map(_is_figure, sources)):
            raise StateError(f"{reader.path}: sources must be ids, not {quoted(sources)}")
        digest = reader.get("source_hash", str)
        if digest.strip("0123456789abcdef") or len(digest) not in DIGEST_LENGTHS:
            raise StateError(
                f"{reader.path}['source_hash'] must be 64 hexadecimal digits, not {quoted(digest)}"
            )
        tokens = reader.get("tokens", int, optional=True)
        written = Written(
            reader.get("id", int),
            read_stored(reader.get("message", dict)),
            tuple(sources),
            digest,
            tokens if known else None,
            reader.get("pinned", bool),
        )
        found.append(written)
    return tuple(sorted(found, key=lambda written: written.id))


def _load_failures(fields: "Fields") -> dict[str, tuple[int, int]]:
    failures: dict[str, tuple[int, int]] = {}
    for name, record in fields.get("failures", dict).items():
        if not isinstance(record, list) or len(record) != 2 or not all(map(_is_figure, record)):
            raise StateError(
                f"state['failures'][{quoted(name)}] must be two integers, not {quoted(record)}"
            )
        failures[name] = (record[0], record[1])
    return failures


def _load_figures(fields: "Fields", conversation: "Conversation", *, same_counter: bool) -> None:
    next_id = fields.get("next_id", int)
    if next_id < conversation.next_id:
        raise StateError(f"next_id is {next_id}, but message {conversation.next_id - 1} exists")
    if next_id >= ID_LIMIT:
        raise StateError(f"next_id is {next_id}, and ids end at {ID_LIMIT - 1}")
    conversation.next_id = next_id
    in_memory = len(conversation.history.messages)
    conversation.history.appended = fields.get("appended", int, at_least=in_memory)
    least = -conversation.window.total_tokens if same_counter else None
    fields.get("adjustment", int, at_least=least)
    sent_tokens = fields.get("sent_tokens", int, optional=True)
    conversation.sent_tokens = sent_tokens if same_counter else None
    conversation.prepared = fields.get("prepared", str)
    if fields.get("settled", bool):
        conversation.settled = conversation.version


def _is_figure(value: object) -> bool:
    return type(value) is int and abs(value) < LARGEST


class Fields:
    """
    Reads the fields of a stored mapping, each with its type.

    Raises `StateError`: the text says where, by `path`.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise StateError(f"{path} must be a mapping, not {type(value).__name__}")
        self._fields = value
        self.path = path

    def has(self, key: str) -> bool:
        """Return whether a field is there."""
        return key in self._fields

    def get(
        self, key: str, kind: type[Any], *, optional: bool = False, at_least: int | None = 0
    ) -> Any:
        """Return a field; raises `StateError` if it is missing, of another type, or too small."""
        if key not in self._fields:
            raise StateError(f"{self.path} lacks {key!r}")
        value: Any = self._fields[key]
        if value is None and optional:
            return None
        # `type` first: it is far quicker than isinstance, and true of nearly every field.
        if type(value) is not kind and (not isinstance(value, kind) or isinstance(value, bool)):
            raise StateError(
                f"{self.path}[{key!r}] must be {kind.__name__}, not {type(value).__name__}"
            )
        if kind is int and abs(value) >= LARGEST:
            raise StateError(f"{self.path}[{key!r}] is too large: {quoted(value)}")
        if kind is int and at_least is not None and value < at_least:
            raise StateError(
                f"{self.path}[{key!r}] must be at least {at_least}, not {quoted(value)}"
            )
        return value
