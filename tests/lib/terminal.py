# SPDX-License-Identifier: BSD-3-Clause
"""A program on a terminal of one's own: what its screen shows, keys for it, another size while it runs.

    with Terminal([BUILD / "gantry", "top"], rows=24, columns=80) as t:
        t.wait_for("READS/S")
        t.type("q")
        assert t.end() == 0
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

CONTROL = re.compile(r"\x1b\[([?>]?)([0-9;]*)([A-Za-z@`])|\x1b[()][A-Z0-9]|\x1b[=>78DEHM]|[\x00-\x1f]|[^\x00-\x1f]",
                     re.DOTALL)
UNFINISHED = re.compile(r"\x1b(\[[?>0-9;]*|[()])?$")


class Terminal:
    """As much of a VT100 as programs use that draw with ncurses."""

    def __init__(self, command, rows=24, columns=80, **environment):
        self.rows, self.columns = rows, columns
        self.text = ""         # all of it, as it came
        self.pending = ""
        self.blank()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execve(command[0], [str(c) for c in command],
                          {**os.environ, "TERM": "vt100", "LC_ALL": "C.UTF-8", **environment})
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def blank(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]
        self.row = self.column = 0
        self.top, self.bottom = 0, self.rows     # what scrolls

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.blank()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def lines(self):
        return ["".join(line).rstrip() for line in self.cells]

    def screen(self):
        return "\n".join(self.lines())

    def wait_for(self, what, timeout_s=60):
        """Until a text is on the screen, or a function of the screen is true; the screen."""
        deadline = time.monotonic() + timeout_s
        while not (what(self.screen()) if callable(what) else what in self.screen()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}; the screen:\n{self.screen()}"
            assert self.read(0.2), f"the program ended before {what}; it said:\n{self.text[-2000:]}"
        return self.screen()

    def end(self, timeout_s=60):
        """Until the program ends; its status."""
        deadline = time.monotonic() + timeout_s
        while self.read(0.2):
            assert time.monotonic() < deadline, f"it does not end; the screen:\n{self.screen()}"
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def read(self, wait_s):
        """What has come, onto the screen. False: the end."""
        if not select.select([self.fd], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        if not data:
            return False
        self.draw(data.decode(errors="replace"))
        return True

    # --- drawing ---

    def draw(self, text):
        self.text += text
        text = self.pending + text
        cut = UNFINISHED.search(text)
        self.pending = text[cut.start():] if cut else ""
        for match in CONTROL.finditer(text[:cut.start()] if cut else text):
            whole = match[0]
            if match[3]:
                self.sequence(match[3], [int(n) if n else 0 for n in match[2].split(";")])
            elif whole == "\r":
                self.column = 0
            elif whole == "\n":
                self.down()
            elif whole == "\b":
                self.column = max(self.column - 1, 0)
            elif whole == "\t":
                self.column = min((self.column // 8 + 1) * 8, self.columns - 1)
            elif whole == "\x1bM":
                self.up()
            elif whole[0] >= " ":
                self.put(whole)

    def down(self):
        if self.row + 1 == self.bottom:
            del self.cells[self.top]
            self.cells.insert(self.bottom - 1, [" "] * self.columns)
        else:
            self.row = min(self.row + 1, self.rows - 1)

    def up(self):
        if self.row == self.top:
            del self.cells[self.bottom - 1]
            self.cells.insert(self.top, [" "] * self.columns)
        else:
            self.row = max(self.row - 1, 0)

    def put(self, character):
        if self.column == self.columns:      # it wraps when the next character comes
            self.column = 0
            self.down()
        self.cells[self.row][self.column] = character
        self.column += 1

    def sequence(self, letter, numbers):
        n = max(numbers[0], 1)
        if letter == "H":
            self.row = min(n, self.rows) - 1
            self.column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif letter == "A":
            self.row = max(self.row - n, 0)
        elif letter == "B":
            self.row = min(self.row + n, self.rows - 1)
        elif letter == "C":
            self.column = min(self.column + n, self.columns - 1)
        elif letter == "D":
            self.column = max(self.column - n, 0)
        elif letter == "r":
            self.top = n - 1
            self.bottom = numbers[1] if len(numbers) > 1 and numbers[1] else self.rows
            self.row = self.column = 0
        elif letter in "JK":
            at, end = (self.row, self.column), (self.row, self.columns) if letter == "K" else (self.rows, 0)
            start, stop = {0: (at, end), 1: ((0, 0) if letter == "J" else (self.row, 0), (self.row, self.column + 1)),
                           2: ((0, 0) if letter == "J" else (self.row, 0), end)}[numbers[0]]
            for row in range(self.rows):
                for column in range(self.columns):
                    if start <= (row, column) < stop:
                        self.cells[row][column] = " "
