"""Work for several threads at once."""

import threading
from collections.abc import Callable


def in_threads(work: Callable[[str], object], names: str) -> None:
    """Do the work in a thread for each name, all at once; returns when all are done."""
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
