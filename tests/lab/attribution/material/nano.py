#!/usr/bin/python3
# A person at a terminal with nano: types, saves, and leaves when the change is undone.
import os, pty, select, sys, time

child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "vt100"
    os.execvp("nano", ["nano", sys.argv[1]])

def is_undone():
    with open(sys.argv[1]) as file:
        return file.read() == "held\n"

def watch(done):
    """Reads the screen until something is true of all that was on it."""
    screen = b""
    for _ in range(600):
        if select.select([terminal], [], [], 0.1)[0]:
            screen += os.read(terminal, 4096)
        if done(screen):
            return
    sys.exit("nano showed: %r" % screen)

watch(lambda screen: b"nano" in screen)
os.write(terminal, b"changed")
watch(lambda screen: b"changed" in screen)
os.write(terminal, b"\x0f")
watch(lambda screen: b"Write" in screen)
os.write(terminal, b"\r")
watch(lambda screen: b"Wrote" in screen)
watch(lambda screen: is_undone())
os.write(terminal, b"\x18")
