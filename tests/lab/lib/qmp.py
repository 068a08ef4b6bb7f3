#!/usr/bin/env python3
"""qmp.py SOCKET COMMAND [NAME=VALUE]...: one command of QEMU's monitor; its answer on stdout."""
import json
import socket
import sys

VALUES = {"true": True, "false": False}


def main():
    path, command = sys.argv[1:3]
    arguments = dict(word.split("=", 1) for word in sys.argv[3:])
    arguments = {name: VALUES.get(value, value) for name, value in arguments.items()}
    monitor = socket.socket(socket.AF_UNIX)
    monitor.settimeout(10)
    monitor.connect(path)
    stream = monitor.makefile("rw")
    stream.readline()  # the greeting
    for request in ("qmp_capabilities", {}), (command, arguments):
        message = {"execute": request[0]}
        if request[1]:
            message["arguments"] = request[1]
        stream.write(json.dumps(message) + "\n")
        stream.flush()
        answer = json.loads(stream.readline())
        while "event" in answer:
            answer = json.loads(stream.readline())
        if "error" in answer:
            sys.exit(f"{command}: {answer['error']['desc']}")
    print(json.dumps(answer["return"]))


main()
