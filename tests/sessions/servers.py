"""Real servers on loopback, each in its own folder: Debian's PostgreSQL and Redis."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

_asked = count()


def free_port() -> int:
    """
    Return a port to listen on.

    It is below those that the kernel gives to clients, and each process looks from a place of its
    own: nobody else takes it before the server listens, or while it is down.
    """
    for number in range(10_000):
        port = 20_000 + (os.getpid() * 97 + next(_asked) + number) % 10_000
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port between 20000 and 30000 is free")


class Server:
    """A process that listens on a port of 127.0.0.1, with what it keeps in a folder."""

    url = ""
    asks_to_stop = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="ctxwin-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.prepare()

    def prepare(self) -> None:
        """Fill the folder."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def user(self) -> str | None:
        """Whom it runs as, where it refuses to run as root."""
        return None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                user=self.user(),
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        for _ in range(600):
            if self.process.poll() is not None:  # another may have taken the port, and would answer
                break
            if self.answers():
                return
            time.sleep(0.05)
        raise RuntimeError(
            f"{self.command()[0]} does not answer: {(self.folder / 'output').read_text()[-2000:]}"
        )

    def answers(self) -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Have it end by itself: a PostgreSQL that is killed leaves shared memory behind."""
        if self.process is not None:
            self.process.send_signal(self.asks_to_stop)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        """Kill all its processes; returns when they are gone and the folder is free."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)  # it starts no more of them
            children = [
                os.pidfd_open(child) for child in _children(self.process.pid)
            ]  # zombies stay, as it is stopped
            self.process.kill()
            self.process.wait()
            self.process = None
            for child in children:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                select.select([child], [], [])
                os.close(child)

    def restart(self) -> None:
        self.kill()
        self.start()


class Redis(Server):
    """Redis that has everything on disk before it answers."""

    @staticmethod
    def lacks() -> str | None:
        return (
            None
            if shutil.which("redis-server")
            else "no redis-server: apt-get install redis-server"
        )

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        return [
            "redis-server",
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]


class PostgreSQL(Server):
    """PostgreSQL, which does not run as root."""

    asks_to_stop = signal.SIGINT  # SIGTERM would wait for its clients

    @staticmethod
    def lacks() -> str | None:
        return (
            None if _postgresql("postgres") else "no PostgreSQL server: apt-get install postgresql"
        )

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"postgresql+psycopg://ctxwin@127.0.0.1:{self.port}/postgres"

    def user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        names = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"

    def prepare(self) -> None:
        user = self.user()
        if user is not None:
            shutil.chown(self.folder, user)
        command = [
            _postgresql("initdb"),
            "-D",
            "data",
            "-U",
            "ctxwin",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
        ]
        subprocess.run(command, user=user, cwd=self.folder, check=True, capture_output=True)

    def command(self) -> list[str]:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 300,
            "dynamic_shared_memory_type": "mmap",  # in its folder, so that it goes with it
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [_postgresql("postgres"), "-D", "data", *settings]

    def answers(self) -> bool:
        command = [_postgresql("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


def _children(parent: int) -> list[int]:
    """Return the processes a process has started; PostgreSQL's are in their own sessions."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def _postgresql(program: str) -> str:
    """Return the path of one of PostgreSQL's programs; Debian keeps them out of the way."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else shutil.which(program) or ""
