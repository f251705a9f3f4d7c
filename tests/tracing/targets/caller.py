"""Loads libraries and calls their functions on command, one a line of standard input.

load PATH | unload PATH | call PATH FUNCTION COUNT | fork PATH FUNCTION COUNT
spawn PATH FUNCTION COUNT: another of these, which loads the library itself
exec: this program anew, in the same process
Each is answered with a line; the first one is "pid N".
"""

import _ctypes
import ctypes
import os
import subprocess
import sys

loaded = {}


def call(path, function, count):
    for _ in range(int(count)):
        loaded[path][function](*[0] * 12)


def fork(*what):
    pid = os.fork()
    if pid == 0:
        call(*what)
        os._exit(0)
    os.waitpid(pid, 0)


def spawn(path, function, count):
    orders = f"load {path}\ncall {path} {function} {count}\n"
    subprocess.run([sys.executable, __file__], input=orders.encode(), check=True, stdout=-3)


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    say(f"pid {os.getpid()}")
    # Not buffered: what is not read yet must survive exec.
    for line in os.fdopen(0, "rb", buffering=0):
        order, *words = line.decode().split()
        if order == "load":
            loaded[words[0]] = ctypes.CDLL(words[0])
        elif order == "unload":
            _ctypes.dlclose(loaded.pop(words[0])._handle)
        elif order == "exec":
            os.execv(sys.executable, [sys.executable, __file__])
        else:
            {"call": call, "fork": fork, "spawn": spawn}[order](*words)
        say("ok")


main()
