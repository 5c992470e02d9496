"""Change the encryption key: move each session to the new one, then leave the old one out."""

from cryptography.fernet import Fernet

from ctxwin.sessions import MemoryStore, Sessions
from ctxwin.sessions.stores.encrypted import EncryptedStore

plain = MemoryStore()  # or any other store
old, new = Fernet.generate_key(), Fernet.generate_key()
with Sessions(EncryptedStore(plain, [old])).open("user-42", max_tokens=4000) as ctx:
    ctx.add_message("user", "Hello!")

both = EncryptedStore(plain, [new, old])
for session in both.list():
    both.rotate(session)
print(Sessions(EncryptedStore(plain, [new])).read("user-42"))
#> [<Message 1 user 'Hello!'>]
