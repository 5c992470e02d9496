"""Records: what cannot be written down or read says so; what was released is read back."""

from typing import Any

import pytest

from ctxwin import ContextManager, Plan, PruneRequest, hookimpl
from ctxwin.log.changes import Forget
from ctxwin.sessions import MemoryStore, RecordError, Sessions
from ctxwin.sessions.records import Reader, Record, change_of, encode, records_of
from ctxwin.testing import WordCounter


def test_a_note_of_one_process_is_not_written_down() -> None:
    """Others need not know what one has released from memory."""
    with pytest.raises(TypeError, match="Forget is not written down"):
        records_of(Forget(), "words", {})


def test_a_number_is_a_number() -> None:
    """Ids in lists are checked one by one."""
    fields = {"gone": ["x"], "unwritten": [], "edits": [], "adjustment": 0, "failures": {}}
    with pytest.raises(TypeError, match="'x' is not a whole number"):
        change_of(3, Record("cut", {**fields, "counter": ""}), "words", ())


def test_a_message_that_cannot_be_read_back_is_named() -> None:
    """Also where the log is read in pages, and no conversation is replayed."""
    with pytest.raises(RecordError, match="holds no message"):
        Reader("a").message(3, Record("append", {}))


def test_a_checkpoint_that_lacks_something_is_named() -> None:
    """The error says that it is the checkpoint."""
    store = MemoryStore()
    ctx = Sessions(store).open("a", 100, counter=WordCounter())
    ctx.add_message("user", "hi")
    checkpoint = encode(Record("checkpoint", {"state": {}}), "x")
    assert store.compact("a", store.read("a").position, checkpoint, {})
    with pytest.raises(RecordError, match="the checkpoint of session 'a'") as caught:
        Sessions(store).open("a", 100, counter=WordCounter())
    assert caught.value.number is None


class FoldsAll:
    """Has one word stand for everything that may go."""

    @hookimpl
    def ctxwin_prune(self, request: PruneRequest) -> Plan:
        return Plan.replace(request.droppable, "so", reason="all of it")


def test_a_rewind_to_before_a_summary_brings_its_sources_back() -> None:
    """They were released from memory; the window is a plain manager's."""
    options: dict[str, Any] = {"counter": WordCounter(), "strategies": [FoldsAll()]}
    plain, ctx = ContextManager(60, **options), Sessions(MemoryStore()).open("a", 60, **options)
    for manager in (plain, ctx):
        manager.add_message("user", "the first one")
        pinned = manager.append({"role": "user", "content": "pinned"}, pinned=True)
        for number in range(9):
            manager.add_message("user", f"question {number} of many words")
        manager.messages()
        assert next(iter(manager)).sources
        manager.rewind(pinned)
    assert [m.to_dict() for m in ctx] == [m.to_dict() for m in plain]
    assert [m.content for m in ctx.conversation_history] == ["the first one"]
