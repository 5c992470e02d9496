"""Recent counts, kept in bounded memory."""

import threading

# The most bytes that an entry takes beside its key: 60 in the table of a dictionary that has just
# grown (two slots of 24 bytes and three indices of 4), 32 for a count above 256, and what the
# allocator adds to key and count.
ENTRY_BYTES = 128
TABLE_BYTES = 256  # an empty dictionary and its first table


class Memo:
    """
    Remembers token counts of texts, and forgets those that were not asked for lately.

    There are two generations, each of half the size. When the young one is full, it becomes the old
    one, and the former old one is dropped whole. An entry that is found in the old one moves to the
    young one. So an entry survives until new entries have filled at least half the memory. That
    costs a second look-up, but no order has to be kept.

    Threads may share it. A look-up takes no lock, because a dictionary's look-up is atomic. Adding
    takes a lock but does not wait for it: if another entry is being added at that moment (by a
    thread, or by a signal handler or finaliser in the same thread), the new one is not remembered
    and has to be counted once more. So the size is exact, and nothing can block.

    Args:
        max_bytes: the most memory that keys, counts and tables take between calls.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes // 2 - TABLE_BYTES  # bytes in one generation
        self._held = 0  # bytes in the young one
        self._young: dict[str | bytes, int] = {}
        self._old: dict[str | bytes, int] = {}
        self._lock = threading.Lock()

    def get(self, key: str | bytes) -> int | None:
        """Return the count, or None if it is not remembered."""
        tokens = self._young.get(key)
        if tokens is None:
            tokens = self._old.get(key)
            if tokens is not None:
                self.put(key, tokens)
        return tokens

    def put(self, key: str | bytes, tokens: int) -> None:
        """
        Remember a count, unless the key alone would fill a generation.

        The key must be a plain `str` or `bytes`: an instance of a subclass could hold more memory
        than its size says. Encode a `str` before you put it here: Python keeps its UTF-8 form with
        it, and that is part of its size.
        """
        # `sys.getsizeof` gives the same figure and takes five times as long.
        size = key.__sizeof__() + ENTRY_BYTES
        if size > self._room or not self._lock.acquire(False):
            return
        try:
            held = self._held + size
            if held > self._room:
                self._old, self._young, held = self._young, {}, size
            self._young[key] = tokens
            self._held = held
        finally:
            self._lock.release()
