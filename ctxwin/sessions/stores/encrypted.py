"""`EncryptedStore`: encryption at rest for any store (`pip install 'ctxwin[encryption]'`)."""

import json
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ctxwin.sessions.stores.protocol import NOWHERE, Page, Position, SessionStore, encode_id
from ctxwin.values.errors import RecordError, StoreError

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError as error:
    raise ImportError("encryption needs cryptography: pip install 'ctxwin[encryption]'") from error

AT_ONCE = 200  # records
TIMESTAMP = slice(1, 9)  # where the Fernet format has it, behind the version


class EncryptedStore:
    """
    A wrapper around another store that encrypts and authenticates records and checkpoints.

    Each one is bound to its session, its number and the session's life, so it cannot be moved
    elsewhere unnoticed, not even into a later session of the same id. What an earlier release wrote
    is not bound to a life until it is rotated.

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
        sealed = self._sealed(session, records, expected)
        position = self._store.append(session, [*sealed.values()], expected)
        if expected == NOWHERE:
            # The life of a new session is known only now. Should this fail, its first records can
            # be read all the same, as those of an earlier release can.
            with suppress(StoreError):
                bound = self._sealed(session, records, Position(position.life, 0))
                self._store.compact(session, position, None, bound)
        return position

    def read(self, session: str, start: int | None = None, limit: int | None = None) -> Page:
        """
        Return records from a number on, or the checkpoint and what follows.

        Raises `RecordError`: a record cannot be decrypted, was moved, or has expired.
        """
        page = self._store.read(session, start, limit)
        life, checkpoint = page.position.life, page.checkpoint
        if checkpoint is not None:
            place = _Place(session, life, page.floor, is_checkpoint=True)
            checkpoint = self._unseal(place, checkpoint)
        records = tuple(
            (number, self._unseal(_Place(session, life, number), body))
            for number, body in page.records
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
            place = _Place(session, position.life, position.number, is_checkpoint=True)
            checkpoint = self._seal(place, checkpoint)
        sealed = {
            number: None
            if body is None
            else self._seal(_Place(session, position.life, number), body)
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
            life = page.position.life
            place = _Place(session, life, page.floor, is_checkpoint=True)
            checkpoint = self._reseal(place, page.checkpoint)
            if self._store.compact(session, Position(life, page.floor), checkpoint, {}):
                break
        start = 1
        while (page := self._store.read(session, start, AT_ONCE)).records:
            resealed = {
                number: self._reseal(_Place(session, page.position.life, number), body)
                for number, body in page.records
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

    def _sealed(self, session: str, records: Sequence[bytes], before: Position) -> dict[int, bytes]:
        """Return records that follow a position, sealed, by number."""
        numbered = enumerate(records, before.number + 1)
        return {
            number: self._seal(_Place(session, before.life, number), body)
            for number, body in numbered
        }

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
        for envelope in (place.envelope(), replace(place, life="").envelope()):
            if opened.startswith(envelope):
                return opened[len(envelope) :]
        raise place.error("it was written for another place, and moved here")

    def _check_age(self, place: "_Place", sealed: bytes) -> None:
        try:
            self._cipher.decrypt(sealed, ttl=self._ttl)
        except InvalidToken:
            raise place.error(f"it is older than {self._ttl} seconds, and has expired") from None

    def _reseal(self, place: "_Place", sealed: bytes) -> bytes:
        """Encrypt something readable with the first key, bound to its life; keep its timestamp."""
        body = self._unseal(place, sealed)
        written = int.from_bytes(urlsafe_b64decode(sealed)[TIMESTAMP], "big")
        return self._cipher.encrypt_at_time(place.envelope() + body, written)


@dataclass(frozen=True, slots=True)
class _Place:
    """
    Where something is stored: a record at its number, or the checkpoint up to a number.

    The life is that of the session; `""` where it is not known, or was not by an earlier release.
    """

    session: str
    life: str
    number: int
    is_checkpoint: bool = False

    def envelope(self) -> bytes:
        """Return the prefix of the bytes stored here, so that they are valid nowhere else."""
        name = b64encode(encode_id(self.session)).decode()
        life = [self.life] if self.life else []
        return json.dumps([name, self.number, self.is_checkpoint, *life]).encode() + b"\n"

    def error(self, reason: str) -> RecordError:
        return RecordError(self.session, None if self.is_checkpoint else self.number, reason)
