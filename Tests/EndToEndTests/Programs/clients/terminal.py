"""Runs a program on a terminal of its own, presses keys, and looks at what is on the screen.

terminal.py COLUMNSxROWS STEP… -- COMMAND…

Steps, one after the other; a step that fails ends all, with what is on the screen
  wait:TEXT      TEXT comes to the screen (within 10 s)
  gone:TEXT      it goes away
  send:KEYS      keys, with \\e for Escape, \\n, \\x03 and so on
  resize:CxR     the terminal has another size
  signal:NUMBER  to the program
  stops          the program stops, as by Ctrl-Z; it goes on at once
  show           prints the screen
  ansi:FILE      writes the screen with its colours
  ends:CODE      the program ends: with this code, or with 128 and its signal's number
At the end, and when it stops: the terminal must be as it was. At no time may a line be longer than the screen.

Programs import Screen and run(), too.
"""
import fcntl
import os
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

PATIENCE = 10 * float(os.environ.get("TWINPORT_PATIENCE", "1"))
CONTROL = re.compile(rb"\x1b\[([?]?)([0-9;]*)([A-Za-z])")


class Screen:
    """As much of a terminal as full-screen programs need: cursor, erasing, colours, two buffers."""

    def __init__(self, columns, rows):
        self.pending = b""
        self.style, self.modes, self.faults = "", {7: True, 25: True, 1049: False}, []
        self.resize(columns, rows)

    def resize(self, columns, rows):
        self.columns, self.rows, self.row, self.column = columns, rows, 0, 0
        self.cells = [[(" ", "")] * columns for _ in range(rows)]

    @property
    def lines(self):
        return ["".join(letter for letter, _ in row).rstrip() for row in self.cells]

    @property
    def text(self):
        return "\n".join(self.lines).rstrip("\n")

    def ansi(self):
        """The screen with its colours."""
        out = []
        for row in self.cells:
            line, last = "", ""
            for letter, style in row:
                if style != last:
                    line += f"\x1b[0m\x1b[{style}m" if style else "\x1b[0m"
                    last = style
                line += letter
            out.append((line + ("\x1b[0m" if last else "")).rstrip())
        return "\n".join(out).rstrip("\n") + "\n"

    def feed(self, data):
        data = self.pending + data
        self.pending = b""
        at = 0
        while at < len(data):
            if data[at] == 0x1b:
                found = CONTROL.match(data, at)
                if not found:
                    if len(data) - at < 16:
                        self.pending = data[at:]
                        return
                    self.faults.append(f"an unknown sequence: {data[at:at + 16]!r}")
                    at += 1
                    continue
                self.control(found[1] == b"?", found[2].decode(), found[3].decode())
                at = found.end()
            elif data[at] < 0x20:
                self.move(data[at])
                at += 1
            else:
                length = 1 if data[at] < 0x80 else 2 if data[at] < 0xe0 else 3 if data[at] < 0xf0 else 4
                if len(data) - at < length:
                    self.pending = data[at:]
                    return
                self.put(data[at:at + length].decode(errors="replace"))
                at += length

    def move(self, byte):
        if byte == 0x0d:
            self.column = 0
        elif byte == 0x0a:
            if self.row == self.rows - 1:
                self.cells = self.cells[1:] + [[(" ", "")] * self.columns]
            else:
                self.row += 1
        elif self.modes[1049]:
            self.faults.append(f"the control character {byte:#x}")

    def put(self, letter):
        if unicodedata.combining(letter):
            return
        width = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if self.column + width > self.columns:
            if self.modes[7]:
                self.column = 0
                self.move(0x0a)
            else:
                self.faults.append(f"line {self.row + 1} is too long: {self.lines[self.row]!r} + {letter!r}")
                return
        self.cells[self.row][self.column] = (letter, self.style)
        if width == 2:
            self.cells[self.row][self.column + 1] = ("", self.style)
        self.column += width

    def control(self, is_private, parameters, last):
        numbers = [int(number or 0) for number in parameters.split(";")] if parameters else []
        if is_private and last in "hl":
            for number in numbers:
                self.modes[number] = last == "h"
        elif last == "H":
            row, column = (numbers + [1, 1])[:2] if numbers else (1, 1)
            self.row, self.column = min(row, self.rows) - 1, min(column, self.columns) - 1
        elif last == "K":
            self.cells[self.row][self.column:] = [(" ", "")] * (self.columns - self.column)
        elif last == "J":
            self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]
        elif last == "m":
            self.style = "" if parameters in ("", "0") else parameters
        else:
            self.faults.append(f"an unknown sequence: {parameters}{last}")


class Program:
    """A program on a pseudo terminal."""

    def __init__(self, command, columns, rows):
        self.screen = Screen(columns, rows)
        self.master, slave = os.openpty()
        # Kept open: what the terminal's settings are is seen after the program's end, too.
        self.slave = slave
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for stream in range(3):
                os.dup2(slave, stream)
            os.execvp(command[0], command)
        self.status = None

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(columns, rows)

    def read(self, seconds):
        """Takes what comes within so many seconds."""
        if not select.select([self.master], [], [], seconds)[0]:
            return
        try:
            self.screen.feed(os.read(self.master, 65536))
        except OSError:
            time.sleep(seconds)

    def until(self, what, condition, patience=PATIENCE):
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}")
            self.read(0.05)

    def settle(self, seconds=0.2):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.05)

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def stopped(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return pid and os.WIFSTOPPED(status)

    def check_restored(self):
        self.settle()
        after = termios.tcgetattr(self.slave)
        assert after == self.before, f"the terminal's settings were {self.before} and are {after}"
        modes = self.screen.modes
        assert modes[7] and modes[25] and not modes[1049], f"the terminal's modes are {modes}"

    def step(self, step):
        name, _, value = step.partition(":")
        if name == "wait":
            self.until(repr(value), lambda: value in self.screen.text)
        elif name == "gone":
            self.until(f"the end of {value!r}", lambda: value not in self.screen.text)
        elif name == "send":
            keys = value.replace("\\e", "\\x1b").encode().decode("unicode_escape")
            os.write(self.master, keys.encode("latin-1"))
        elif name == "resize":
            self.resize(*map(int, value.split("x")))
        elif name == "signal":
            os.kill(self.pid, int(value))
        elif name == "stops":
            self.until("a stop", self.stopped)
            self.check_restored()
            os.kill(self.pid, signal.SIGCONT)
        elif name == "show":
            self.settle()
            print(self.screen.text, flush=True)
        elif name == "ansi":
            self.settle()
            with open(value, "w", encoding="utf-8") as file:
                file.write(self.screen.ansi())
        elif name == "ends":
            self.until("the end", self.ended)
            code = os.waitstatus_to_exitcode(self.status)
            code = 128 - code if code < 0 else code
            assert code == int(value), f"it ended with {code}"
            self.check_restored()
        else:
            raise AssertionError(f"no step {step!r}")

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def run(size, steps, command):
    """Carries the steps out."""
    program = Program(command, *map(int, size.split("x")))
    try:
        for step in steps:
            try:
                program.step(step)
            except AssertionError as error:
                print(f"{step}: {error}; on the screen:\n{program.screen.text}")
                return 1
        if program.screen.faults:
            print("\n".join(program.screen.faults))
            return 1
    finally:
        program.close()
    return 0


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) < 3 or "--" not in words:
        sys.exit(__doc__)
    cut = words.index("--")
    sys.exit(run(words[0], words[1:cut], words[cut + 1:]))
