"""`RedisStore`: sessions in Redis or a compatible server (`pip install 'ctxwin[redis]'`)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, decode_id, encode_id, is_text
from ctxwin.values.errors import StaleError, StoreError, quoted

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("this store needs redis-py: pip install 'ctxwin[redis]'") from error

T = TypeVar("T")

# A session is two hashes: facts about it, and its records by number. Not a stream, because records
# are dropped and rewritten by number. `unpack` in Lua passes a few thousand arguments at most, so
# records are read in portions. One script is one atomic step of the server.
APPEND = """
local head, log = KEYS[1], KEYS[2]
local life, number, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', head, 'life', 'number')
if (known[1] or '') ~= life or tonumber(known[2] or 0) ~= number then return 0 end
if life == '' then
    redis.call('DEL', log)
    redis.call('HSET', head, 'life', ARGV[4], 'name', ARGV[5], 'floor', 0)
end
for i = 6, #ARGV do redis.call('HSET', log, number + i - 5, ARGV[i]) end
redis.call('HSET', head, 'number', number + #ARGV - 5)
for _, key in ipairs(KEYS) do
    if ttl > 0 then redis.call('EXPIRE', key, ttl) else redis.call('PERSIST', key) end
end
return 1
"""
READ = """
local start, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'life', 'number', 'floor')
if not known[1] then return {} end
local checkpoint = false
if start < 0 then
    start = tonumber(known[3]) + 1
    checkpoint = redis.call('HGET', KEYS[1], 'checkpoint')
end
local found, last, portion = {}, tonumber(known[2]), math.min(limit, 1000)
while start <= last and #found < 2 * limit do
    local numbers = {}
    for number = start, math.min(last, start + portion - 1) do numbers[#numbers + 1] = number end
    local records = redis.call('HMGET', KEYS[2], unpack(numbers))
    for i, record in ipairs(records) do
        if record and #found < 2 * limit then
            found[#found + 1] = numbers[i]
            found[#found + 1] = record
        end
    end
    start, portion = start + #numbers, math.min(2 * portion, 1000)
end
return {known[1], known[2], known[3], checkpoint, found}
"""
COMPACT = """
local head, log = KEYS[1], KEYS[2]
local known = redis.call('HMGET', head, 'life', 'number', 'floor')
local number = tonumber(ARGV[2])
if known[1] ~= ARGV[1] or tonumber(known[2]) < number or tonumber(known[3]) > number then
    return 0
end
if ARGV[3] == '1' then redis.call('HSET', head, 'floor', number, 'checkpoint', ARGV[4]) end
local dropped = tonumber(ARGV[5])
for i = 6, 5 + dropped do redis.call('HDEL', log, ARGV[i]) end
for i = 6 + dropped, #ARGV, 2 do
    if redis.call('HEXISTS', log, ARGV[i]) == 1 then
        redis.call('HSET', log, ARGV[i], ARGV[i + 1])
    end
end
return 1
"""
DELETE = "return redis.call('DEL', KEYS[1], KEYS[2])"
AT_ONCE = 500  # keys
ALL = 2**52  # records, and still exact as a float, which all numbers in Lua are


class RedisStore:
    """
    A `SessionStore` in Redis.

    How durable an append is depends on the server's `appendfsync`. If the server is killed,
    `always` loses nothing and `everysec` loses up to one second of records. The server must not
    evict keys, or sessions would lose records: keep `maxmemory-policy noeviction`, the default. In
    a cluster, the two keys of a session share a slot.

    Args:
        url: `redis://`, `rediss://` or `unix://`, in the form redis-py takes.
        ttl: the number of seconds without an append after which a session expires; None for never.
            The latest append decides.
        prefix: the beginning of every key.
        options: further arguments of `redis.Redis.from_url`.

    Raises:
        ValueError: the URL is not one of a Redis server, or `ttl` is not positive.
    """

    def __init__(
        self, url: str, *, ttl: int | None = None, prefix: str = "ctxwin", **options: Any
    ) -> None:
        if ttl is not None and ttl <= 0:
            raise ValueError(f"ttl must be a positive number of seconds, not {ttl}")
        self._ttl = ttl or 0
        self._prefix = prefix
        self._closed = False
        # Sending an append twice is safe: if the first one got through, the second finds the log at
        # another position. Protocol 2 is the one that every server and proxy speaks.
        defaults = {"retry": Retry(NoBackoff(), 1), "protocol": 2}
        client = _client(url, {**defaults, **options})
        if client is None:
            raise ValueError(
                "this is no URL of a Redis server; write redis://user:password@host:6379/0 "
                "(or rediss://, unix://), and in a password %40 %2F %23 %3F for @ / # ?"
            )
        self._client = client
        self._append, self._read, self._compact, self._delete = map(
            self._client.register_script, (APPEND, READ, COMPACT, DELETE)
        )

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """Add records to the end of a log, if it is at the expected position."""
        life = expected.life or uuid4().hex
        given: Sequence[Any] = [
            expected.life,
            expected.number,
            self._ttl,
            life,
            encode_id(session),
            *records,
        ]
        if not self._run(lambda: self._append(keys=self._keys(session), args=given)):
            raise StaleError(f"session {quoted(session)} is not at {expected}")
        return Position(life, expected.number + len(records))

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """Return records from a number on, or the checkpoint and what follows."""
        given = [-1 if start is None else start, ALL if limit is None or start is None else limit]
        found = self._run(lambda: self._read(keys=self._keys(session), args=given))
        if not found:
            return Page(NOWHERE, 0)
        life, number, floor, checkpoint, records = found
        numbered = zip(map(int, records[::2]), records[1::2], strict=True)
        return Page(Position(life.decode(), int(number)), int(floor), tuple(numbered), checkpoint)

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        """Set a checkpoint, and drop or rewrite records."""
        dropped = [number for number, body in changes.items() if body is None]
        rewritten: Sequence[Any] = [
            item for number, body in changes.items() if body is not None for item in (number, body)
        ]
        given: Sequence[Any] = [
            position.life,
            position.number,
            int(checkpoint is not None),
            checkpoint or b"",
            len(dropped),
        ]
        done = self._run(
            lambda: self._compact(keys=self._keys(session), args=[*given, *dropped, *rewritten])
        )
        return bool(done)

    def delete(self, session: str) -> bool:
        """Remove a session."""
        return bool(self._run(lambda: self._delete(keys=self._keys(session))))

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions."""
        seen: set[bytes] = set()
        cursor = 0
        escaped = (f"\\{char}" if char in "\\*?[]" else char for char in self._prefix)
        pattern = "".join(escaped) + ":{*}:head"
        while True:
            cursor, keys = self._run(
                partial(self._client.scan, cursor, match=pattern, count=AT_ONCE)
            )
            fresh = set(keys) - seen  # a scan may return a key more than once
            seen |= fresh
            for name in self._run(partial(self._names, fresh)):
                if name is not None:  # the session was not deleted since the scan
                    yield decode_id(name)
            if cursor == 0:
                return

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._client.close()

    def _names(self, heads: Iterable[bytes]) -> Sequence[bytes | None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for head in heads:
                pipeline.hget(head, "name")
            found: Sequence[bytes | None] = pipeline.execute()
        return found

    def _keys(self, session: str) -> tuple[str, str]:
        # A cluster places a key by the part in braces: both keys get the same slot.
        tag = f"{self._prefix}:{{{sha256(encode_id(session)).hexdigest()}}}"
        return f"{tag}:head", f"{tag}:log"

    def _run(self, ask: Callable[[], T]) -> Any:
        if self._closed:
            raise StoreError("the store was closed")
        try:
            return ask()
        except redis.RedisError as error:
            # redis-py quotes the arguments, which may hold a password: cut them, chain no cause.
            text = str(error).partition(", with args beginning with")[0]
            raise StoreError(f"redis failed: {type(error).__name__}: {text}") from None


def _client(url: str, options: Mapping[str, Any]) -> Any:
    """Return a client; None where the URL is none, or where a password ends is not clear."""
    with suppress(ValueError):
        # After a / ? or # the rest of a password would be taken for a path, and what is before it
        # for host and port, which errors name.
        if "@" not in urlsplit(url)._replace(netloc="").geturl() and is_text(url):
            return redis.Redis.from_url(url, **options)
    return None
