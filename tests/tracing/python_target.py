"""A program whose threads wait in all kinds of Python, and that tells its own stacks.

Run as ``python -c``, by any Python from 3.9 on. ``TARGET wait`` prints the stacks of its waiting
threads as JSON by thread id, as the interpreter itself knows them; ``fork`` does so from a child.
``wild`` calls functions for ever, at lines that name the function called.
"""
# Its lines and calls are what is looked for, as they are.
# ruff: noqa: C417, T201, TRY301
# fmt: off

import asyncio
import json
import os
import random
import sys
import threading

GATE = threading.Lock()


def block():
    GATE.acquire()


def nested():
    def middle():
        def inner():
            block()

        inner()

    middle()


def generator():
    def first():
        yield 1
        block()
        yield 2

    def second():
        yield 0
        yield from first()

    return sum(
        second()
    )


def coroutine():
    class Waiting:
        def __await__(self):
            block()
            yield

    async def inner():
        await Waiting()

    async def outer():
        async with asyncio.Lock():
            await inner()

    asyncio.run(outer())


def comprehension():
    return {
        number: [block() for _ in range(2)]
        for number in (1, 2)
    }


def class_body():
    class Made:
        first = 1
        second = block()

    return Made


def callback():
    def by_length(word):
        if word == "last":
            block()
        return len(word)

    return sorted(["first", "second", "last"], key=by_length)


def lambdas():
    return list(map(lambda one: one and block(), [0, 0, 1]))


def handlers():
    try:
        raise KeyError("expected")
    except KeyError:
        try:
            pass
        finally:
            block()


class Thing:
    def __init__(self, number):
        if number == 299:
            block()


def specialised():
    for number in range(300):
        Thing(
            number
        )


def recursion(depth=40):
    if depth:
        recursion(depth - 1)
    else:
        block()


def deep(depth=700):
    if depth:
        return deep(depth - 1)
    return block()


def strange_names():
    source = "def naïve():\n\n    函数()\ndef 函数():\n    block()\nnaïve()\n"
    names = {"block": block}
    exec(compile(source, "evil\x1b[2J\r\n" + "💣" * 2000 + ".py", "exec"), names)


def far_lines():
    source = "\n" * 70000 + "def far():\n" + "\n" * 300 + "    block(\n" + "\n" * 50 + ")\nfar()\n"
    exec(compile(source, "far.py", "exec"), {"block": block})


WAITING = [
    *(nested, generator, coroutine, comprehension, class_body, callback, lambdas, handlers),
    *(specialised, recursion, deep, strange_names, far_lines),
]


def told(frame):
    stack = []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        stack.append((name, code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return stack


def wait():
    GATE.acquire()
    threads = [threading.Thread(target=function, daemon=True) for function in WAITING]
    for thread in threads:
        thread.start()
    stacks = {}
    while len(stacks) < len(threads):
        frames = sys._current_frames()
        stacks = {one.native_id: told(frames[one.ident]) for one in threads}
        stacks = {tid: stack for tid, stack in stacks.items() if stack[0][0] == "block"}
    print(json.dumps(stacks), flush=True)
    sys.stdin.read()
    # Threads that wait for ever are left to the system.
    os._exit(0)


def fork():
    child = os.fork()
    if not child:
        wait()
    os.waitpid(child, 0)


def wild():
    print("{}", flush=True)
    while True:
        wild_plain(int(12 * random.random()))


def wild_plain(depth):
    if depth:
        wild_plain(depth - 1)
        wild_leaf()
        wild_callback(depth - 1)
        wild_comprehension(depth - 2)
        wild_leaf()


def wild_leaf():
    total = 0
    for number in range(int(5 * random.random())):
        total += number
    return total


def wild_callback(depth):
    sorted(range(2), key=wild_leaf_of)
    if depth > 2:
        for _ in wild_generator(depth - 2):
            wild_leaf()
    WildThing(depth - 3)


def wild_leaf_of(number):
    return wild_leaf()


def wild_generator(depth):
    yield wild_leaf()
    yield from wild_inner_generator(depth)


def wild_inner_generator(depth):
    wild_plain(depth - 2 if depth > 2 else 0)
    yield 1


def wild_comprehension(depth):
    return [wild_leaf_of(one) for one in range(2)] if depth > 0 else None


class WildThing:
    def __init__(self, depth):
        if depth > 0:
            wild_leaf()


if __name__ == "__main__":
    {"wait": wait, "fork": fork, "wild": wild}[sys.argv[1]]()
