"""What was counted lately, in bounded memory."""

import threading

# Bytes an entry takes beside its key, at most: 60 in the table of a dictionary that has just grown
# (two slots of 24 bytes and three indices of 4), 32 for a count above 256, and what the allocator
# adds to key and count.
ENTRY_BYTES = 128
TABLE_BYTES = 256  # an empty dictionary and its first table


class Memo:
    """
    Remembers token counts of texts, and forgets those not asked for lately.

    There are two generations, each of half the size: when the young one is full it becomes the old
    one, whose entries are dropped together; an entry asked for in the old one joins the young. So
    an entry stays for at least half the size of new ones, at the price of a look-up and of no order
    that had to be kept.

    Threads may share it. Looking up takes no lock: a dictionary's look-up is atomic. Adding takes
    one, without
    waiting for it: an entry that comes while another is being added (by a thread, or by a signal
    handler or finaliser in the same one) is not remembered, which costs one more count. So the size
    is exact, and nothing can block.

    Args:
        max_bytes: how much memory keys, counts and tables take at most, between calls.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes // 2 - TABLE_BYTES  # of a generation
        self._held = 0  # in the young one
        self._young: dict[str | bytes, int] = {}
        self._old: dict[str | bytes, int] = {}
        self._lock = threading.Lock()

    def get(self, key: str | bytes) -> int | None:
        """Return the count, or None."""
        tokens = self._young.get(key)
        if tokens is None:
            tokens = self._old.get(key)
            if tokens is not None:
                self.put(key, tokens)
        return tokens

    def put(self, key: str | bytes, tokens: int) -> None:
        """
        Remember a count, unless the key alone would fill a generation.

        The key is a `str` or `bytes`, not of a subclass, which could hold more than it says. A
        `str` is measured when it has been encoded: its UTF-8 form stays with it.
        """
        size = (
            key.__sizeof__() + ENTRY_BYTES
        )  # `sys.getsizeof` says the same, and takes five times as long
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
