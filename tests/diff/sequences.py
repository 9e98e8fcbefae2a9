#!/usr/bin/env python3
"""Random sequences of socket calls over several processes, on the kernel's sockets and on ours.

The calls are chosen while the kernel answers (so most of them make sense), and then told to the other side, which has to
give the same answers: result, errno and content, and after each call the poll mask, the bytes to read and the TCP state of
every descriptor of every process. What differs is run again, slowly, on both sides; what then still differs, though the
kernel gives the same answers twice, is made as short as it gets and printed.

    sequences.py --kernel 'COMMAND' --ours 'COMMAND' FIRST COUNT             random ones, by number
    sequences.py --kernel 'COMMAND' --ours 'COMMAND' --file FILE [NAME ...]  written ones
"""
import argparse
import random
import re
import subprocess
import sys

WORKERS = range(3)
PORTS = ["p0", "p1", "p2", "p3"]
TAKES = ("accept", "recv", "read", "recvmsg", "drain")
WATCHES = ("wait", "poll", "select")
SETTLE_MS = [0, 5, 60]  # ever slower
UNSTEADY = "unsteady"
EVENTS = ["i", "o", "io", "ih", "p", "iop", "ioph", "ioe", "ie", "oe", "ihe", "ioph1", "i1", "ie1", "h", "n", "x", "ix", "ixe", ""]


class Side:
    """One of the two programs that make the calls."""

    def __init__(self, name, command):
        self.name = name
        self.begun = 0
        self.process = subprocess.Popen(command, shell=True, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def tell(self, line):
        self.process.stdin.write(line + "\n")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"not ok: {self.name} ended with {self.process.wait()}")
        return line.rstrip("\n")

    def begin(self, settle_ms=0):
        """A new sequence, on ports that none has used for a while."""
        self.begun += 1
        self.tell(f"begin {5000 + self.begun % 3000 * 8} {settle_ms}")
        assert self.answer() == "begun"

    def run(self, calls, settle_ms=0):
        self.begin(settle_ms)
        answers = []
        for call in calls:
            self.tell(call)
            answers.append(self.answer())
        return answers

    def follow(self, calls, expected, settle_ms=0):
        """Runs the calls as long as the answers are as expected."""
        self.begin(settle_ms)
        answers = []
        for call, answer in zip(calls, expected):
            self.tell(f"{call}\t{answer}")
            answers.append(self.answer())
            if answers[-1] != answer:
                break
        return answers


class Fd:
    def __init__(self, mask, inq, tcp):
        self.mask, self.inq, self.tcp = mask, inq, tcp


def parse(state):
    """The state of the workers: {worker: {number: Fd}}, None for one that is blocked."""
    workers = {}
    for part in re.sub(r"\([^)]*\)", "", state).split(";"):
        words = part.split()
        if not words:
            continue
        if "blocked" in words or "hangs" in words:
            workers[int(words[0])] = None
            continue
        fds = {}
        for word in words[1:]:
            if ":" not in word:
                continue
            fd, rest = word.split(":", 1)
            fields = rest.split("/")
            tcp = fields[-1] if len(fields) > 1 and fields[-1].isalpha() and len(fields[-1]) == 1 else ""
            fds[int(fd)] = Fd(int(fields[0], 16), fields[1] if len(fields) > 1 else "", tcp)
        workers[int(words[0])] = fds
    return workers


class Generator:
    """Chooses calls; knows what the kernel answered to those before."""

    def __init__(self, number):
        self.r = random.Random(number)
        self.workers = {}
        self.kinds = {}  # (worker, number): tcp, udp, epoll, pipe
        self.mail = []
        self.last = {}  # what each worker was told last
        self.hectic = self.r.choice([0.04, 0.06, 0.06, 0.2])
        self.joined = set()  # workers that have had a socket, or come from one that has
        self.queue = []
        self.seed = 0
        self.length = self.r.choice([12, 20, 30, 45])
        self.processes = self.r.choice([1, 2, 2, 2, 3, 3])
        self.blocking = self.r.random() < 0.5
        self.filled = False  # how much fits into a send buffer is nobody's to compare
        self.prologue()

    def pick(self, *choices):
        return self.r.choice(choices)

    def prologue(self):
        self.queue = ["0 start"]
        if self.processes > 1 and self.r.random() < 0.5:
            self.queue.append("1 start")
        other = 1 if len(self.queue) > 1 else 0
        kind = self.pick("pair", "pair", "pair", "listener", "udp", "nothing", "epoll")
        if kind in ("pair", "listener"):
            self.queue += ["0 tcp", f"0 bind 3 {self.pick('lo', 'any', 'own')} p0", f"0 listen 3 {self.pick(0, 1, 5)}"]
        if kind == "pair":
            fd = 3 if other else 4
            self.queue += [f"{other} tcp", f"{other} connect {fd} {'own' if self.queue[-2].find('own') > 0 else 'lo'} p0", f"0 accept 3"]
        if kind == "udp":
            self.queue += ["0 udp", "0 bind 3 lo p0", f"{other} udp", f"{other} connect {3 if other else 4} lo p0"]
        if kind == "epoll":
            self.queue += ["0 epoll", "0 tcp", "0 ctl 3 add 4 " + self.pick(*EVENTS)]
        if self.processes > 1 and not other:
            self.queue.append("0 fork 1")
        elif self.processes > 2:
            self.queue.append("0 fork 2")

    def learn(self, call, answer):
        result, _, state = answer.partition("\t")
        words = call.split()
        w, what = int(words[0]), words[1]
        self.workers = parse(state)
        self.last[w] = what if what[:3] != "usr" else self.last.get(w)
        match = re.search(r"= (-?\d+)", result)
        ret = int(match.group(1)) if match else -1
        if what in ("tcp", "udp"):
            self.joined.add(w)
        if what == "fork" and w in self.joined:
            self.joined.add(int(words[2]))
        if what in ("kill", "exit", "exec"):
            self.joined.discard(w)
        if ret >= 0 and what in ("tcp", "udp", "epoll"):
            self.kinds[w, ret] = what
        elif ret >= 0 and what == "accept":
            self.kinds[w, ret] = "tcp"
        elif ret >= 0 and what in ("dup", "dup2", "dup3", "dupfd"):
            self.kinds[w, ret] = self.kinds.get((w, int(words[2])), "tcp")
        elif what == "fill":
            self.filled = True
        elif ret >= 0 and what == "pipe":
            for fd in result.split()[:2]:
                self.kinds[w, int(fd)] = "pipe"
        elif ret >= 0 and what == "take":
            self.kinds[w, int(result.split()[0])] = self.mail.pop(0) if self.mail else "tcp"
        elif ret >= 0 and what == "pass":
            self.mail.append(self.kinds.get((w, int(words[2])), "tcp"))
        elif ret >= 0 and what == "fork":
            for (worker, fd), kind in list(self.kinds.items()):
                if worker == w:
                    self.kinds[int(words[2]), fd] = kind

    def next(self):
        if self.queue:
            return self.queue.pop(0)
        idle = [w for w, fds in self.workers.items() if fds is not None]
        blocked = [w for w, fds in self.workers.items() if fds is None]
        if blocked and (not idle or self.r.random() < 0.12):
            return f"{self.r.choice(blocked)} {self.pick('usr1', 'usr1', 'usr1', 'usr2', 'kill')}"
        if not self.workers:
            return "0 start"
        if self.r.random() < self.hectic:
            call = self.process(idle)
            if call:
                return call
        if not idle:
            return f"{self.r.choice(blocked)} usr1"
        w = self.r.choice(idle)
        call = f"{w} {self.call(w)}"
        # A blocking connect that fails does so in two steps, between which others may look (DIFFERENCES.md).
        if call.split()[1] == "connect" and any(self.last.get(b) in WATCHES for b in blocked):
            return f"{w} getfl {call.split()[2]}"
        # Which of several that wait for the same gets it is not compared (DIFFERENCES.md).
        if call.split()[1] in TAKES and (" nb" not in call or "accept" in call) and any(self.last.get(b) in TAKES for b in blocked):
            return f"{w} getfl {call.split()[2]}"
        return call

    def process(self, idle):
        free = [w for w in WORKERS if w < self.processes and w not in self.workers]
        what = self.pick("fork", "fork", "fork", "fork", "start", "exit", "kill", "exec", "exec")
        # Not compared (DIFFERENCES.md): epoll sets that are shared without a host, or leave the processes that share one.
        if what == "fork":
            idle = [w for w in idle if w in self.joined or not self.holds_epoll(w)]
        if what == "exec":
            idle = [w for w in idle if not self.holds_epoll(w)]
        if what == "fork" and free and idle:
            return f"{self.r.choice(idle)} fork {free[0]}" + self.pick("", "", "", "", " _Fork", " clone", " raw")
        if what == "start" and free:
            return f"{free[0]} start"
        if what in ("exit", "kill") and idle and len(self.workers) > 1:
            return f"{self.r.choice(idle)} {what}"
        if what == "exec" and idle:
            return f"{self.r.choice(idle)} exec"
        return None

    def holds_epoll(self, w):
        return any(self.kinds.get((w, fd)) == "epoll" for fd in self.workers[w])

    def bytes(self):
        self.seed += 1
        return f"{self.pick(0, 1, 1, 5, 10, 10, 100, 1000, 5000)} {self.seed}"

    def flags(self, *choices):
        return "".join(f" {flag}" for flag in choices if self.r.random() < 0.12)

    def fd(self, w, kind=None):
        fds = [fd for fd in self.workers[w] if not kind or self.kinds.get((w, fd), "tcp") == kind]
        if not fds or self.r.random() < 0.02:
            return self.r.randint(3, 12)
        return self.r.choice(fds)

    def target(self):
        return f"{self.pick('lo', 'lo', 'lo', 'lo', 'lo2', 'any', 'own')} {self.r.choice(PORTS[:2] if self.r.random() < 0.8 else PORTS)}"

    def call(self, w):
        fds = self.workers[w]
        r = self.r.random()
        if len(fds) < 2 or (r < 0.07 and len(fds) < 9):
            return self.pick("tcp", "tcp", "tcp", "udp", "epoll", "pipe") + (self.flags("nb", "cloexec", "nagle"))
        if r < 0.20:
            return self.number(w)
        if r < 0.26:
            return self.letter(w)
        fd = self.fd(w)
        kind = self.kinds.get((w, fd), "tcp")
        if kind == "epoll":
            return self.epoll(w, fd)
        if kind == "pipe":
            return self.pick(f"read {fd} 10", f"write {fd} 3 1", f"poll {fd} i" if self.blocking else f"getfl {fd}")
        if self.r.random() < 0.15:
            return self.epoll(w, self.fd(w, "epoll"))
        if self.filled:
            return self.pick(f"drain {fd}", f"close {fd}", f"shutdown {fd} 1", f"linger {fd} 0", self.waiting(fd))
        if kind == "udp":
            return self.udp(w, fd)
        return self.tcp(w, fd, fds.get(fd))

    def letter(self, w):
        fd = self.fd(w)
        if self.r.random() < 0.5 and self.kinds.get((w, fd)) != "epoll":
            return f"pass {fd} {self.r.choice(list(self.workers))}"
        return "take" + self.flags("cloexec")

    def number(self, w):
        fd = self.fd(w)
        to = self.pick(self.fd(w), self.r.randint(3, 12))
        return self.pick(
            f"dup {fd}", f"dup2 {fd} {to}", f"dup3 {fd} {to}", f"dupfd {fd} {self.pick(0, 3, 6)}" + self.flags("cloexec"),
            f"close {fd}", f"close {fd}", f"close {fd}", f"close {fd}", f"close {fd}",
            f"close_range {min(fd, to)} {max(fd, to)}" if self.r.random() < 0.3 else f"close {fd}",
            f"nonblock {fd} {self.pick(0, 1)}" + self.flags("ioctl"), f"getfl {fd}", f"cloexec {fd} {self.pick(0, 1)}", f"getfd {fd}")

    def wait(self, blocking, otherwise):
        return blocking if self.blocking and self.r.random() < 0.5 else otherwise

    def epoll(self, w, fd):
        member = self.fd(w, self.pick("tcp", "tcp", "udp", None))
        op = self.pick("add", "add", "add", "mod", "del")
        return self.pick(
            f"wait {fd} 0", f"wait {fd} 0", f"wait {fd} 0", self.wait(f"wait {fd} -1", f"wait {fd} 0"),
            f"ctl {fd} {op} {member} {self.pick(*EVENTS)}", f"ctl {fd} {op} {member} {self.pick(*EVENTS)}",
            f"ctl {fd} {op} {member} {self.pick(*EVENTS)}",
            self.wait(f"poll {fd} i", f"wait {fd} 0"))

    def receive(self, fd):
        size = self.pick(0, 1, 4, 10, 100, 10000)
        nb = self.wait("", " nb")
        return self.pick(
            f"recv {fd} {size}{nb}", f"recv {fd} {size}{nb}", f"recv {fd} {size}{nb}" + self.flags("peek", "oob", "all", "trunc", "err"),
            f"recvmsg {fd} {size}{nb}" + self.flags("peek", "oob", "trunc"),
            self.wait(f"read {fd} {size}", f"recv {fd} {size} nb"), f"drain {fd}")

    def options(self, fd):
        return self.pick(
            f"get {fd} error", f"get {fd} error", f"get {fd} {self.pick('type', 'accepting', 'lowat', 'reuse', 'inline', 'keep')}",
            f"set {fd} reuse 1", f"set {fd} port 1", f"set {fd} lowat {self.pick(1, 5, 20)}", f"set {fd} inline {self.pick(0, 1)}",
            f"set {fd} nodelay 1", f"set {fd} keep 1", f"linger {fd} {self.pick(0, 0, 0, 1, -1)}", f"name {fd}", f"peer {fd}")

    def waiting(self, fd):
        return self.wait(self.pick(f"poll {fd} {self.pick('i', 'o', 'h', 'p', '', 'ih')}", f"select {fd} {self.pick('i', 'o', 'p', 'iop')}"), f"peer {fd}")

    def udp(self, w, fd):
        return self.pick(
            f"bind {fd} {self.pick('lo', 'any', 'lo2', 'own', 'other')} {self.r.choice(PORTS + ['0'])}",
            f"connect {fd} {self.target()}", f"connect {fd} {self.target()}", f"connect {fd} unspec 0",
            f"send {fd} {self.bytes()}", f"send {fd} {self.bytes()}" + self.flags("nb", "oob"), f"write {fd} {self.bytes()}",
            f"sendto {fd} {self.bytes()} {self.target()}", f"sendto {fd} {self.bytes()} {self.target()}",
            self.receive(fd), self.receive(fd), self.receive(fd), self.options(fd), self.waiting(fd),
            f"shutdown {fd} {self.pick(0, 1, 2)}", f"listen {fd} 1", f"accept {fd}")

    def tcp(self, w, fd, it):
        state = it.tcp if it else "?"
        connected = [
            f"send {fd} {self.bytes()}" + self.flags("nb", "oob", "more", "quiet"), f"send {fd} {self.bytes()} nb",
            f"write {fd} {self.bytes()}", f"writev {fd} {self.bytes()}", f"send {fd} 1 {self.seed} oob",
            f"shutdown {fd} {self.pick(0, 1, 2)}", f"shutdown {fd} {self.pick(0, 1, 2)}",
            self.receive(fd), self.receive(fd), self.receive(fd), self.receive(fd), self.options(fd), self.waiting(fd),
            f"close {fd}", f"mark {fd}", f"linger {fd} 0", f"fill {fd} {self.seed}" if self.r.random() < 0.3 else f"drain {fd}"]
        fresh = [
            f"bind {fd} {self.pick('lo', 'lo', 'any', 'lo2', 'own', 'other')} {self.r.choice(PORTS + ['0'])}",
            f"bind {fd} lo {self.r.choice(PORTS[:2])}", f"listen {fd} {self.pick(0, 1, 2, 5, -1)}",
            self.wait(f"connect {fd} {self.target()}", f"nonblock {fd} 1"), f"connect {fd} {self.target()}" if self.blocking or (it and it.tcp == "L") else f"nonblock {fd} 1",
            f"connect {fd} {self.target()}", f"options"]
        fresh[-1] = self.options(fd)
        if state == "I":
            return self.pick(
                self.wait(f"accept {fd}", f"accept {fd} nb") if it.mask & 1 or self.blocking else f"nonblock {fd} 1",
                self.wait(f"accept {fd}", f"accept {fd}") if it.mask & 1 else f"nonblock {fd} 1",
                f"accept {fd}" if it.mask & 1 or self.blocking else f"getfl {fd}",
                f"close {fd}", f"shutdown {fd} {self.pick(0, 1, 2)}", f"listen {fd} {self.pick(0, 1, 3)}",
                self.options(fd), self.waiting(fd), f"connect {fd} {self.target()}", f"connect {fd} unspec 0", self.receive(fd), self.r.choice(connected))
        if state == "C":
            return self.pick(*fresh, *fresh, *connected)
        r = self.r.random()
        if r < 0.05:
            return f"connect {fd} {self.pick('unspec 0', self.target())}"
        if r < 0.07:
            return self.r.choice(fresh)
        return self.r.choice(connected)


class Comparison:
    def __init__(self, kernel, ours):
        self.kernel, self.ours = kernel, ours
        self.unsteady = 0
        self.again = 0

    def generate(self, number):
        g = Generator(number)
        calls, answers = [], []
        self.kernel.begin()
        while len(calls) < g.length or g.queue:
            call = g.next()
            self.kernel.tell(call)
            answer = self.kernel.answer()
            calls.append(call)
            answers.append(answer)
            g.learn(call, answer)
        return calls, answers

    def differs(self, calls, settle_ms):
        """The first difference (index, kernel's answer, ours), None, or UNSTEADY when the kernel does not answer the same twice."""
        reference = self.kernel.run(calls, settle_ms)
        ours = self.ours.follow(calls, reference, settle_ms)
        if ours == reference:
            return None
        if self.kernel.run(calls, settle_ms) != reference:
            return UNSTEADY
        i = len(ours) - 1
        return i, reference[i], ours[i]

    def shrink(self, calls, found, settle_ms):
        """Drops calls for as long as some difference stays."""
        calls = calls[:found[0] + 1]
        size = max(len(calls) // 4, 1)
        while True:
            i, dropped = 0, False
            while i < len(calls):
                fewer = calls[:i] + calls[i + size:]
                result = self.differs(fewer, settle_ms) if fewer else None
                if result and result != UNSTEADY:
                    calls, found, dropped = fewer[:result[0] + 1], result, True
                else:
                    i += size
            if size == 1 and not dropped:
                return calls, found
            size = max(size // 2, 1)

    def judge(self, calls, shrink):
        """After a first difference: None or UNSTEADY, or the calls that show it and what differs."""
        for settle_ms in SETTLE_MS:
            found = self.differs(calls, settle_ms)
            if not found or (found == UNSTEADY and settle_ms == SETTLE_MS[-1]):
                return found
            if found == UNSTEADY:
                continue
            fewer, last = self.shrink(calls, found, settle_ms) if shrink else (calls[:found[0] + 1], found)
            # It must stand when everything has had time to settle.
            found = self.differs(fewer, SETTLE_MS[-1]) or self.differs(calls, SETTLE_MS[-1])
            return (fewer, last) if found else None
        return None

    def show(self, calls, found):
        return "\n".join(["  " + call for call in calls] + [f"  kernel: {found[1]}", f"  ours:   {found[2]}"])


def run_random(comparison, first, count, shrink, limit):
    failed = 0
    for number in range(first, first + count):
        calls, answers = comparison.generate(number)
        if comparison.ours.follow(calls, answers) == answers:
            continue
        comparison.again += 1
        found = comparison.judge(calls, shrink)
        if found == UNSTEADY:
            comparison.unsteady += 1
        elif found:
            failed += 1
            print(f"sequence {number} differs:\n{comparison.show(*found)}", flush=True)
            if failed >= limit:
                break
    return failed


def read_file(name):
    sequences, calls = {}, None
    for line in open(name):
        line = line.split("#")[0].strip()
        if line.endswith(":"):
            calls = sequences.setdefault(line[:-1], [])
        elif line:
            calls.append(line)
    return sequences


def run_written(comparison, file, names):
    failed = 0
    for name, calls in read_file(file).items():
        if names and name not in names:
            continue
        found = comparison.differs(calls, 0) and comparison.judge(calls, False)
        if not found:
            continue
        failed += 1
        print(f"sequence {name} " + (UNSTEADY if found == UNSTEADY else f"differs:\n{comparison.show(*found)}"))
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--file")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--limit", type=int, default=5, help="stop after so many that differ")
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    comparison = Comparison(Side("the kernel's", args.kernel), Side("ours", args.ours))
    if args.file:
        failed = run_written(comparison, args.file, args.rest)
    else:
        failed = run_random(comparison, int(args.rest[0]), int(args.rest[1]), not args.no_shrink, args.limit)
    for side in (comparison.kernel, comparison.ours):
        side.tell("late")
    comparison.kernel.answer()
    print(f"{failed} differ, {comparison.unsteady} that the kernel does not repeat, {comparison.again} run again, {comparison.ours.answer()} answers late")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
