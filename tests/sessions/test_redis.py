"""RedisStore keeps the contract, and what goes wrong there is a typed error."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from traceback import format_exception
from uuid import uuid4

import pytest
import redis

from ctxwin.sessions import NOWHERE, Page, SessionStore, StoreError, open_store
from ctxwin.sessions.stores.redis import RedisStore
from sessions.contracts import OpenedStores
from sessions.servers import Redis


@pytest.fixture
def store(redis_server: str) -> Iterator[RedisStore]:
    """A store of its own, by a prefix with what means something in a pattern."""
    opened = RedisStore(redis_server, prefix=f"te[s]t*{uuid4().hex}?\\\\")
    yield opened
    opened.close()


@pytest.fixture
def server() -> Iterator[Redis]:
    """A server that no other test is using."""
    reason = Redis.lacks()
    if reason:
        pytest.skip(reason)
    with Redis() as started:
        yield started


class TestRedis(OpenedStores):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: str) -> None:
        self.url = redis_server

    def open(self) -> SessionStore:
        return RedisStore(self.url)


def test_the_keys_of_a_session_are_in_one_slot(store: RedisStore) -> None:
    """Of a cluster: what is in braces decides, and an id cannot meddle with it."""
    for session in ("a", "{a}", "}{", ""):
        head, log = store._keys(session)
        tags = {key[key.index("{") : key.index("}") + 1] for key in (head, log)}
        assert len(tags) == 1
        assert len(tags.pop()) == 66


def test_a_prefix_is_no_pattern(store: RedisStore, redis_server: str) -> None:
    """Only sessions of this store are listed, though others' keys would match."""
    store.append("a", [b"1"], NOWHERE)
    for letters, others in (("[s]", "s"), ("*", "x"), ("?", "y"), ("\\\\", "\\")):
        other = RedisStore(redis_server, prefix=store._prefix.replace(letters, others))
        other.append("b", [b"1"], NOWHERE)
        assert (list(store.list()), list(other.list())) == (["a"], ["b"])
        other.close()


def test_a_time_to_live_is_renewed_by_each_append(redis_server: str) -> None:
    """An expired session is one that is not there; a checkpoint does not shorten its life."""
    store = RedisStore(redis_server, ttl=1000, prefix=uuid4().hex)
    here = store.append("a", [b"1"], NOWHERE)
    keys = store._keys("a")
    for key in keys:
        assert 0 < store._client.ttl(key) <= 1000
        store._client.expire(key, 50)
    store.compact("a", here, b"checkpoint", {})
    assert {store._client.ttl(key) <= 50 for key in keys} == {True}
    here = store.append("a", [b"2"], here)
    assert {store._client.ttl(key) > 50 for key in keys} == {True}
    for key in keys:
        store._client.pexpire(key, 0)
    assert store.read("a") == Page(NOWHERE, 0)
    assert list(store.list()) == []
    store.close()


def test_the_latest_append_decides_how_long_a_session_lives(redis_server: str) -> None:
    """Nor does one that has lost all its records leave them to its successor."""
    prefix = uuid4().hex
    brief, lasting = (
        RedisStore(redis_server, ttl=1000, prefix=prefix),
        RedisStore(redis_server, prefix=prefix),
    )
    here = brief.append("a", [b"1"], NOWHERE)
    here = lasting.append("a", [b"2"], here)
    head, log = lasting._keys("a")
    assert {lasting._client.ttl(key) for key in (head, log)} == {-1}
    lasting._client.delete(head)  # as a server does that evicts keys
    here = lasting.append("a", [b"new"], NOWHERE)
    assert lasting._client.hgetall(log) == {b"1": b"new"}
    brief.close()
    lasting.close()


def test_a_session_that_expires_while_it_is_listed(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out, and one that is met twice is listed once."""
    store.append("a", [b"1"], NOWHERE)
    head, gone = (store._keys(session)[0].encode() for session in ("a", "gone"))
    answers = iter([(7, [head, gone, head]), (0, [head])])
    monkeypatch.setattr(store._client, "scan", lambda *_, **__: next(answers))
    assert list(store.list()) == ["a"]


def test_records_behind_many_that_were_dropped(server: Redis) -> None:
    """They are found, as many as asked for, in order, and without asking for each in turn."""
    store = RedisStore(server.url)
    here = store.append("a", [b"%d" % number for number in range(1, 5001)], NOWHERE)
    kept = (2, 4000, 4001, 4999, 5000)
    store.compact(
        "a", here, None, {number: None for number in range(1, 5001) if number not in kept}
    )
    for limit in (1, 3, 2000):
        store._client.config_resetstat()
        assert store.read("a", 1, limit).records == tuple(
            (number, b"%d" % number) for number in kept[:limit]
        )
        assert store._client.info("commandstats")["cmdstat_hmget"]["calls"] <= 20
    store.close()


def test_scripts_are_loaded_again(store: RedisStore) -> None:
    """Whoever flushes them, or restarts the server, does no harm."""
    here = store.append("a", [b"1"], NOWHERE)
    store._client.script_flush()
    here = store.append("a", [b"2"], here)
    store._client.script_flush()
    assert store.read("a").position == here


def test_an_append_whose_answer_is_lost_is_stored_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be sent again, and then finds itself there already."""
    here = store.append("a", [b"1"], NOWHERE)
    read_response: Callable[..., object] = store._client.parse_response
    faults = iter([redis.TimeoutError("lost")])

    def lose(*given: object, **options: object) -> object:
        answer = read_response(*given, **options)
        for fault in faults:
            raise fault
        return answer

    monkeypatch.setattr(store._client, "parse_response", lose)
    with pytest.raises(StoreError):  # a StaleError, where redis-py sends it again
        store.append("a", [b"2"], here)
    assert store.read("a", 1).records == ((1, b"1"), (2, b"2"))


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_time_to_live_is_positive(ttl: int) -> None:
    """Zero would forget at once what was just stored."""
    with pytest.raises(ValueError, match="ttl"):
        RedisStore("redis://127.0.0.1", ttl=ttl)


@pytest.mark.parametrize(
    "url", ["http://:secret@127.0.0.1", "redis://:secret/x@127.0.0.1", "redis://:secret@[::1/0"]
)
def test_urls_that_are_none(url: str) -> None:
    """Nothing of a password is told, though a part of it may be taken for a port."""
    with pytest.raises(ValueError, match="no URL of a Redis server") as caught:
        RedisStore(url)
    assert "secret" not in "".join(format_exception(caught.value))


def test_a_server_that_is_not_there_is_a_typed_error() -> None:
    """Its password is not told."""
    store = RedisStore("redis://me:secret@127.0.0.1:9/0")
    with pytest.raises(StoreError, match="redis failed: ConnectionError") as caught:
        store.read("a")
    assert "secret" not in str(caught.value)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.read("a")


class Guarded(Redis):
    """Redis that asks for a password, and does not know the newer protocol."""

    def command(self) -> list[str]:
        return [*super().command(), "--requirepass", "s3cret", "--rename-command", "HELLO", ""]


def test_a_password_is_given_and_never_told() -> None:
    """Whatever the server says; Redis repeats what it does not understand."""
    reason = Guarded.lacks()
    if reason:
        pytest.skip(reason)
    with Guarded() as server:
        for userinfo, protocol, text in (
            (":s3cret@", 3, "unknown command"),
            (":wr0ng@", 2, "invalid username-password"),
            ("", 2, "Authentication required"),
        ):
            store = RedisStore(server.url.replace("://", f"://{userinfo}"), protocol=protocol)
            with pytest.raises(StoreError, match=text) as caught:
                store.read("a")
            assert not {"s3cret", "wr0ng"} & set(
                re.split(r"\W+", "".join(format_exception(caught.value)))
            )
            store.close()
        store = RedisStore(server.url.replace("://", "://:s3cret@"))
        assert store.append("a", [b"1"], NOWHERE).number == 1
        store.close()


def test_a_server_that_was_killed_is_met_again(server: Redis) -> None:
    """Nothing that was acknowledged is lost, where the server writes at once."""
    store = RedisStore(server.url)
    here = store.append("a", [b"1"], NOWHERE)
    server.kill()
    with pytest.raises(StoreError, match="failed"):
        store.append("a", [b"2"], here)
    server.start()
    here = store.append("a", [b"2"], here)
    server.restart()
    assert store.read("a").records == ((1, b"1"), (2, b"2"))
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match="maxmemory"):
        store.append("a", [b"3"], here)
    assert store.read("a").position == here
    client.config_set("maxmemory", 0)
    client.replicaof("127.0.0.1", "9")
    with pytest.raises(StoreError, match="read only"):
        store.append("a", [b"3"], here)
    assert store.read("a").position == here
    client.replicaof("NO", "ONE")
    assert store.append("a", [b"3"], here).number == 3
    client.close()
    store.close()


def test_a_forked_child_has_connections_of_its_own(store: RedisStore) -> None:
    """Parent and child go on side by side."""
    store.append("parent", [b"1"], NOWHERE)
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            status = 0 if store.append("child", [b"1"], NOWHERE).number == 1 else 2
        os._exit(status)
    assert store.read("parent").position.number == 1
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(store.list()) == ["child", "parent"]


def test_a_url_opens_it(redis_server: str) -> None:
    """With the options that it takes."""
    with open_store(redis_server, ttl=100, prefix=uuid4().hex) as sessions:
        with sessions.open("a", max_tokens=100, counter=len) as ctx:
            ctx.add_message("user", "hi")
        assert [message.content for message in sessions.read("a")] == ["hi"]
