"""`EncryptedStore`: encryption at rest for any store (`pip install 'ctxwin[encryption]'`)."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ctxwin.sessions.stores.protocol import Page, Position, SessionStore, encode_id
from ctxwin.values.errors import RecordError

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError as error:
    raise ImportError("encryption needs cryptography: pip install 'ctxwin[encryption]'") from error

AT_ONCE = 200  # records


class EncryptedStore:
    """
    A wrapper around another store that encrypts and authenticates records and checkpoints.

    Each one is bound to its session and its number, so it cannot be moved elsewhere unnoticed.
    Session ids stay readable, and so do the number, length and time of the records. Encrypted
    records take a third more space, because Fernet writes base64.

    Args:
        store: where the encrypted records are kept.
        keys: Fernet keys (`Fernet.generate_key()`). The first one encrypts, all of them decrypt.
            To change keys, put the new one first wherever the store is opened, `rotate` every
            session, then remove the old one.
        ttl: the number of seconds after which a record can no longer be read; None for no limit.

    Raises:
        ValueError: there is no key, or one of them is not a Fernet key; `ttl` is not positive.
    """

    def __init__(
        self, store: SessionStore, keys: Sequence[str | bytes], *, ttl: int | None = None
    ) -> None:
        if isinstance(keys, str | bytes) or not keys:
            raise ValueError("keys must be a list of at least one Fernet key")
        if ttl is not None and ttl <= 0:
            raise ValueError(f"ttl must be a positive number of seconds, not {ttl}")
        try:
            self._cipher = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise ValueError(
                "a key is not a Fernet key: pass 32 bytes in URL-safe base64, "
                "as Fernet.generate_key() returns them"
            ) from error
        self._store = store
        self._ttl = ttl

    def append(self, session: str, records: Sequence[bytes], expected: Position) -> Position:
        """Add records to the end of a log, if it is at the expected position."""
        numbered = enumerate(records, expected.number + 1)
        sealed = [self._seal(_Place(session, number), body) for number, body in numbered]
        return self._store.append(session, sealed, expected)

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """
        Return records from a number on, or the checkpoint and what follows.

        Raises `RecordError`: a record cannot be decrypted, was moved, or has expired.
        """
        page = self._store.read(session, start, limit)
        checkpoint = page.checkpoint
        if checkpoint is not None:
            checkpoint = self._unseal(_Place(session, page.floor, is_checkpoint=True), checkpoint)
        records = tuple(
            (number, self._unseal(_Place(session, number), body)) for number, body in page.records
        )
        return Page(page.position, page.floor, records, checkpoint)

    def compact(
        self,
        session: str,
        position: Position,
        checkpoint: bytes | None,
        changes: Mapping[int, bytes | None],
    ) -> bool:
        """Set a checkpoint, and drop or rewrite records."""
        if checkpoint is not None:
            checkpoint = self._seal(
                _Place(session, position.number, is_checkpoint=True), checkpoint
            )
        sealed = {
            number: None if body is None else self._seal(_Place(session, number), body)
            for number, body in changes.items()
        }
        return self._store.compact(session, position, checkpoint, sealed)

    def rotate(self, session: str) -> None:
        """
        Encrypt a session again with the first key; others may write to it meanwhile.

        Everything keeps its timestamp, so it expires when it would have expired before.

        Raises:
            RecordError: something cannot be decrypted; it stays as it is.
            StoreError: the store failed; call again to continue.
        """
        # `compact` refuses when somebody has written a newer checkpoint since it was read here.
        # Then read again: that checkpoint may have been encrypted by a worker with the old key.
        while (page := self._store.read(session)).checkpoint is not None:
            checkpoint = self._reseal(
                _Place(session, page.floor, is_checkpoint=True), page.checkpoint
            )
            if self._store.compact(
                session, Position(page.position.life, page.floor), checkpoint, {}
            ):
                break
        start = 1
        while (page := self._store.read(session, start, AT_ONCE)).records:
            resealed = {
                number: self._reseal(_Place(session, number), body) for number, body in page.records
            }
            if self._store.compact(session, page.position, None, resealed):
                start = page.records[-1][0] + 1

    def delete(self, session: str) -> bool:
        """Remove a session."""
        return self._store.delete(session)

    def list(self) -> Iterator[str]:
        """Yield the ids of the sessions."""
        return self._store.list()

    def close(self) -> None:
        """Close connections and files."""
        self._store.close()

    def _seal(self, place: "_Place", body: bytes) -> bytes:
        return self._cipher.encrypt(place.envelope() + body)

    def _unseal(self, place: "_Place", sealed: bytes) -> bytes:
        try:
            opened = self._cipher.decrypt(sealed)
        except InvalidToken:
            raise place.error("it was encrypted by none of the keys, or is corrupt") from None
        # Only now: Fernet raises the same error for a wrong key and for an old record.
        if self._ttl is not None:
            self._check_age(place, sealed)
        envelope = place.envelope()
        if not opened.startswith(envelope):
            raise place.error("it was written for another place, and moved here")
        return opened[len(envelope) :]

    def _check_age(self, place: "_Place", sealed: bytes) -> None:
        try:
            self._cipher.decrypt(sealed, ttl=self._ttl)
        except InvalidToken:
            raise place.error(f"it is older than {self._ttl} seconds, and has expired") from None

    def _reseal(self, place: "_Place", sealed: bytes) -> bytes:
        """Encrypt something readable with the first key, and keep its timestamp."""
        self._unseal(place, sealed)
        return self._cipher.rotate(sealed)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something is stored: a record at its number, or the checkpoint up to a number."""

    session: str
    number: int
    is_checkpoint: bool = False

    def envelope(self) -> bytes:
        """Return the prefix of the bytes stored here, so that they are valid nowhere else."""
        name = b64encode(encode_id(self.session)).decode()
        return json.dumps([name, self.number, self.is_checkpoint]).encode() + b"\n"

    def error(self, reason: str) -> RecordError:
        return RecordError(self.session, None if self.is_checkpoint else self.number, reason)
