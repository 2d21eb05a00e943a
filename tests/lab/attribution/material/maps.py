#!/usr/bin/python3
# Changes a file through memory, and stays until that is undone.
import mmap, os, sys, time
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    memory[0:4] = b"HELD"
for _ in range(600):
    with open(sys.argv[1]) as file:
        if file.read() == "held\n":
            break
    time.sleep(0.1)
