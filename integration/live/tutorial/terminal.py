"""An interactive bash on a pseudo-terminal of its own, typed into and read through pipes.

When nobody types any more, because the terminal was closed or whoever opened it has died, every process of the
terminal's session is ended.
"""

import os
import pty
import signal

SHELL = ["bash", "--norc", "--noprofile", "--noediting", "-i"]


def end(leader):
    """Ends the session that bash leads."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)
        except ProcessLookupError:
            pass  # It has ended meanwhile.


def main():
    leader, screen = pty.fork()
    if leader == 0:
        os.execvp(SHELL[0], SHELL)
    reader = os.fork()
    if reader == 0:
        try:
            while shown := os.read(screen, 4096):
                os.write(1, shown)
        except OSError:
            pass  # The last process has closed the terminal.
        os._exit(0)
    while typed := os.read(0, 4096):
        os.write(screen, typed)
    end(leader)
    os.kill(reader, signal.SIGKILL)


main()
