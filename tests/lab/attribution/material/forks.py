#!/usr/bin/python3
# Forks twice; the grandchild writes when its parents are gone.
import os, sys, time
if os.fork():
    sys.exit()
os.setsid()
parent = os.getpid()
if os.fork():
    sys.exit()
while os.getppid() == parent:
    time.sleep(0.01)
with open(sys.argv[1], "w") as file:
    file.write("changed\n")
