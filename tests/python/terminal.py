"""Runs a command on a terminal of its own and prints what it wrote there; ends as the command ended.

Arguments: the columns of the terminal, then the command. Standard output and standard error of the command are the terminal.
"""

import fcntl
import os
import pty
import struct
import sys
import termios


def main() -> None:
    columns, command = int(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.environ.pop("COLUMNS", None)
        os.execvp(command[0], command)
    written = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # as Linux says that nobody writes any more
            break
        if not read:
            break
        written += read
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"ended {status}\n{written.decode()}")


main()
