"""
Two versions of ctxwin side by side: the ratio of what the same work costs them.

    git worktree add ../before 6c4534f
    python tests/bench/benchmark_versions.py ../before [--rounds 9] [--only flat cut open import]

Each figure is the CPU time of a process of its own, old and new in turn, so that both see the same
machine; what is printed are the medians and their ratio, new to old. Counting costs next to
nothing here: the counter is constant, so that a change of ours shows.
"""

import argparse
import compileall
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUP = """
import sys, time
from ctxwin import Budget, ContextManager

class Constant:
    name, exact, additive = "constant", True, True
    def count_text(self, text): return 10
    def count_message(self, message): return 10
    def count_request(self, messages, tools=()): return 3 + 10 * len(messages)

def wires(count):
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"message {n}"} for n in range(count)]

def timed(run):
    start = time.process_time()
    run()
    print(time.process_time() - start)
"""
WORK = {
    "flat": """
ctx = ContextManager(budget=Budget(2000, low=0.5), counter=Constant())
chat = wires(20_000)
ctx.extend(chat[:2_000])
ctx.messages()
def turns():
    for wire in chat[2_000:]:
        ctx.append(wire)
        ctx.messages()
timed(turns)
""",
    "cut": """
ctx = ContextManager(budget=Budget(2000, low=0.5), counter=Constant())
ctx.extend(wires(100_000))
ctx.total_tokens
timed(ctx.messages)
""",
    "open": """
import tempfile
from ctxwin.sessions import open_store
folder = tempfile.mkdtemp()
store = open_store(f"sqlite:///{folder}/chats.db")
options = {"budget": Budget(300, low=0.5), "counter": Constant()}
for number in range(1_000):
    with store.open(str(number), **options) as ctx:
        ctx.extend(wires(40))
        ctx.messages()
def opened():
    for number in range(1_000):
        with store.open(str(number), **options) as ctx:
            ctx.messages()
timed(opened)
""",
    "import": """
""",
}


def cpu_seconds(root: Path, name: str) -> float:
    """Return the CPU seconds that a version takes for the work, or for being imported."""
    path = os.pathsep.join([str(root), str(root / "plugins")])
    environment = {**os.environ, "PYTHONPATH": path}
    code = SETUP + WORK[name]
    if name == "import":
        code = "import time\nstart = time.process_time()\nimport ctxwin\n"
        code += "print(time.process_time() - start)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=root
    )
    return float(done.stdout)


def main() -> None:
    """Run each piece of work by both versions in turn, and print medians and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path, help="a checkout of the older version")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=WORK, default=list(WORK))
    arguments = parser.parse_args()
    print(f"{'':8}{'before, ms':>12}{'now, ms':>12}{'ratio':>8}")
    for root in (arguments.before, ROOT):  # or one of them would be compiled each time
        compileall.compile_dir(root, quiet=1)
    for name in arguments.only:
        figures: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.rounds):
            for root, found in zip((arguments.before.resolve(), ROOT), figures, strict=True):
                found.append(cpu_seconds(root, name))
        before, now = map(statistics.median, figures)
        print(f"{name:8}{before * 1e3:12.1f}{now * 1e3:12.1f}{now / before:8.2f}", flush=True)


if __name__ == "__main__":
    main()
