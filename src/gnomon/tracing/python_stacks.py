"""The Python stack of a thread of another process, which neither stops nor notices.

Memory is read by process_vm_readv(2) alone. The thread may run on meanwhile, so every pointer is
checked for what it should lead to, and a stack counts only if it was the same twice in a row: then
there was a moment between the two at which it was just that. A thread inside a call into C, which
is what a tracer asks for, does not change its stack at all.
"""

import contextlib
import struct
from collections import Counter
from collections.abc import Iterator

from gnomon._errors import TracingError
from gnomon.tracing.process_memory import (
    Copy,
    MissedError,
    ProcessMemory,
    Reading,
    Span,
    TornError,
    merged,
)
from gnomon.tracing.python_code import Codes, PythonFrame
from gnomon.tracing.python_finder import CODE_TYPE, FRAME_TYPE, RUNTIME, Found, find_python
from gnomon.tracing.python_layouts import DEBUG_OFFSETS_BYTES, layout_of

__all__ = ["PythonFrame", "PythonReader"]

# Of deeper stacks the innermost frames are told.
MOST_FRAMES = 512
MOST_INTERPRETERS, MOST_THREADS = 16, 1024
TRIES = 4
# How often a stack is copied at one go, and how many of the copies have to make sense: what is
# equal in these is what counts.
COPIES, LEAST_COPIES = 4, 3
# Where a running thread's frames were missed, more is copied the next time: up to so many pieces
# a try, and in all beside those of the frames themselves.
MOST_MISSES, MOST_SPANS = 8, 16
# Where glibc keeps the thread id, in the struct pthread that pthread_self() points to: after a
# header of 704 bytes and a list of 16 (nptl/descr.h and sysdeps/x86_64, unchanged since 2.4).
PTHREAD_TID = 720
# enum _frameowner (Include/internal/pycore_frame.h): from 3 on frames of the interpreter itself.
OWNED_BY_GENERATOR, OWNED_BY_INTERPRETER = 1, 3
_Frame = tuple[int, int, int]  # address, code object, instruction
# Low bits of a _PyStackRef are flags (3.14, pycore_stackref.h); objects are aligned to 8 and more.
POINTER_BITS = ~7


class _Thread:
    """What is remembered of a thread: where its state lies, and its stack when last seen.

    ``newest`` are the newest thread states of the time when it was found. The memory of an ended
    thread looks as before, but none can have followed it with the same id while these are the same.
    ``spans`` is where to look for its frames, ``heads`` where the code objects of ``frames`` are.
    ``data`` is what was in both when it had these frames; empty where they have to be followed.
    """

    def __init__(self, state: int, newest: list[int]) -> None:
        self.state = state
        self.newest = newest
        self.spans: list[Span] = []
        self.heads: list[Span] = []
        self.data = b""
        self.frames: tuple[PythonFrame, ...] = ()


class PythonReader:
    """The Python stacks of one process, CPython 3.9 to 3.15 on x86-64.

    Raises NoPythonError where the process has no Python in it, TracingError where it has one that
    is not known or may not be read; so does `stack` once that is so.
    """

    def __init__(self, pid: int) -> None:
        self._memory = ProcessMemory(pid)
        found = find_python(pid)
        try:
            self._set_up(found)
        except TornError as error:
            raise TracingError(
                f"the memory of Python {found.version[0]}.{found.version[1]} in process {pid} "
                "does not look as this version's should",
                "try again once it has started up; a debug build cannot be read before 3.13",
            ) from error
        self._threads: dict[int, _Thread] = {}
        # Threads without Python, and the newest thread states of the time when it was seen.
        self._absent: dict[int, list[int]] = {}

    def _set_up(self, found: Found) -> None:
        self.version, self._runtime = found.version, found.addresses[RUNTIME]
        begin = self._memory.read(self._runtime, DEBUG_OFFSETS_BYTES)
        self._layout = layout = layout_of(found.version, begin)
        self._codes = Codes(self._memory, layout, found.addresses[CODE_TYPE])
        self._frame_type = found.addresses.get(FRAME_TYPE, 0)
        fields = [layout.frame_previous, layout.frame_code, layout.frame_instruction]
        self._frame_bytes = max(*fields, layout.frame_owner or 0) // 8 * 8 + 8
        self._frame_words = struct.Struct(f"<{self._frame_bytes // 8}Q")
        self._instruction_word = layout.frame_instruction // 8
        self._owner_word, place = divmod(layout.frame_owner or 0, 8)
        self._owner_shift = place * 8
        self._frame = self._told_by_object if layout.has_frame_objects else self._told_by_owner
        fields = [layout.thread_interpreter, layout.thread_frame, layout.thread_id]
        self._state_bytes = max(*fields, layout.native_thread_id or 0) + 8
        # Every interpreter has a thread state, each of which knows its interpreter.
        if not any(True for _ in self._states(Reading(self._memory))):
            raise TornError

    def stack(self, namespace_tid: int) -> tuple[PythonFrame, ...] | None:
        """The stack of a thread, innermost first; of very deep ones the innermost frames alone.

        ``namespace_tid`` is its id as the process itself sees it. Empty where the thread runs no
        Python at the moment; None where it changed while it was read, or never ran any.
        """
        for _ in range(TRIES):
            with contextlib.suppress(TornError):
                thread = self._thread(namespace_tid)
                if thread is None:
                    return None
                frames = self._read(thread, namespace_tid)
                if frames or thread.state in self._states(Reading(self._memory)):
                    return frames
                del self._threads[namespace_tid]
        return None

    def _read(self, thread: _Thread, tid: int) -> tuple[PythonFrame, ...]:
        if not thread.spans or len(thread.spans) > MOST_SPANS + len(thread.frames):
            self._explore(thread, tid)
        for _ in range(MOST_MISSES):
            try:
                return self._compare(thread, tid)
            except MissedError as missed:
                # A pointer that leads nowhere is no place to look at again.
                self._memory.read(*missed.span)
                thread.spans = merged([*thread.spans, missed.span])
                thread.heads, thread.data = [], b""
        raise TornError

    def _compare(self, thread: _Thread, tid: int) -> tuple[PythonFrame, ...]:
        """Read a stack out of several copies of the thread's ``spans``."""
        wanted = thread.spans + thread.heads
        try:
            data = self._memory.gather(wanted * COPIES)
        except TornError:
            thread.spans, thread.heads = [], []
            raise
        size = len(data) // COPIES
        copies = [data[at : at + size] for at in range(0, len(data), size)]
        is_still = all(copy == copies[0] for copy in copies)
        if is_still and copies[0] == thread.data:
            return thread.frames
        spans: list[Span] = []
        walked = []
        error = TornError()
        # Of equal copies one is enough.
        for copy in copies[:1] if is_still else copies:
            try:
                walked.append(self._walk(thread, tid, Copy(wanted, copy), spans))
            except TornError as torn:
                error = torn
        if len(walked) < (1 if is_still else LEAST_COPIES):
            raise error
        stack = _shared(walked)
        order = list({code: None for _, code, _ in stack})
        codes = dict(zip(order, self._codes.read(order), strict=True))
        placed = ((codes[code], instruction) for _, code, instruction in stack)
        frames = tuple(code.frame(at - code.begin) for code, at in placed if not code.is_internal)
        if is_still:
            # Next time no more is copied than this stack, and code objects to be known again.
            thread.spans, thread.heads = merged(spans), self._codes.spans(order)
            thread.data = copies[0] if thread.spans + thread.heads == wanted else b""
            thread.frames = frames
        return frames

    def _explore(self, thread: _Thread, tid: int) -> None:
        """Find out where the frames of a thread are; it need not be all of them."""
        spans: list[Span] = []
        with contextlib.suppress(TornError):
            self._walk(thread, tid, Reading(self._memory), spans)
        thread.spans = merged(spans)

    def _walk(self, thread: _Thread, tid: int, memory: Copy, spans: list[Span]) -> list[_Frame]:
        """Follow the frames from the innermost one; ``spans`` gets what was read for it.

        Raises TornError where it makes no sense.
        """
        layout = self._layout
        spans.append((thread.state, self._state_bytes))
        newest = [*self._newest(memory, spans)]
        if self._tid(memory, thread.state, spans) != tid or newest != thread.newest:
            self._threads.pop(tid, None)
            raise TornError
        address = memory.word(thread.state + layout.thread_frame)
        if layout.cframe_frame is not None:
            spans.append((address, 16))
            address = memory.word(address + layout.cframe_frame)
        frames: list[_Frame] = []
        size, unpack, told = self._frame_bytes, self._frame_words.unpack_from, self._frame
        previous_word, code_word = layout.frame_previous // 8, layout.frame_code // 8
        mark, turn = 0, 8
        for count in range(MOST_FRAMES):
            if not address:
                break
            # Frames that were written to meanwhile may lead round in a circle (Brent's algorithm).
            if address == mark:
                raise TornError
            if count == turn:
                mark, turn = address, turn * 2
            data, at = memory.find(address, size)
            spans.append((address, size))
            words = unpack(data, at)
            instruction = told(words)
            if instruction is not None:
                frames.append((address, words[code_word] & POINTER_BITS, instruction))
            address = words[previous_word]
        return frames

    def _told_by_owner(self, words: tuple[int, ...]) -> int | None:
        """Where a frame of 3.11 and later is; None for one of the interpreter's own."""
        owner = words[self._owner_word] >> self._owner_shift & 0xFF
        if owner >= OWNED_BY_INTERPRETER:
            return None
        # A generator that has just yielded is told by that nobody is around it.
        if owner == OWNED_BY_GENERATOR and not words[self._layout.frame_previous // 8]:
            raise TornError
        return words[self._instruction_word]

    def _told_by_object(self, words: tuple[int, ...]) -> int:
        """Where a frame object is: bytes into the bytecode, of f_lasti."""
        layout = self._layout
        # Objects without references are kept for later use, linked by what was the previous frame.
        if words[layout.type // 8] != self._frame_type or not words[0]:
            raise TornError
        # As above; f_gen stands before f_lasti.
        if words[self._instruction_word - 1] and not words[layout.frame_previous // 8]:
            raise TornError
        # An int; of instructions from 3.10 on; -1 is before the first.
        index = (words[self._instruction_word] & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        return index * 2 if self.version >= (3, 10) or index < 0 else index

    def _tid(self, memory: Copy, state: int, spans: list[Span]) -> int:
        """The id of the thread that a thread state belongs to; ``spans`` gets where it stands."""
        layout = self._layout
        if layout.native_thread_id is not None:
            place = state + layout.native_thread_id
        else:
            spans.append((state + layout.thread_id, 8))
            place = memory.word(state + layout.thread_id) + PTHREAD_TID
        spans.append((place, 8))
        return memory.word(place) & 0xFFFFFFFF

    def _thread(self, tid: int) -> _Thread | None:
        if thread := self._threads.get(tid):
            return thread
        reading = Reading(self._memory)
        newest = [*self._newest(reading, [])]
        # Thread states are put in front of the others: without a new one, none can be tid's.
        if self._absent.get(tid) == newest:
            return None
        for state in self._states(reading):
            if self._tid(reading, state, []) == tid:
                thread = self._threads[tid] = _Thread(state, newest)
                self._absent.pop(tid, None)
                return thread
        if len(self._absent) + len(self._threads) > MOST_THREADS:
            self._absent.clear()
            self._threads.clear()
        self._absent[tid] = newest
        return None

    def _newest(self, memory: Copy, spans: list[Span]) -> Iterator[int]:
        """The newest thread state of each interpreter, and whose it is."""
        spans.append((self._runtime + self._layout.interpreters, 8))
        for interpreter in self._interpreters(memory):
            place = interpreter + self._layout.interpreter_threads
            spans += [(place, 8), (interpreter + self._layout.interpreter_next, 8)]
            state = memory.word(place)
            yield state
            # Another thread's state may have been put where an ended one's was.
            yield self._tid(memory, state, spans) if state else 0

    def _interpreters(self, memory: Copy) -> Iterator[int]:
        interpreter = memory.word(self._runtime + self._layout.interpreters)
        for _ in range(MOST_INTERPRETERS):
            if not interpreter:
                return
            yield interpreter
            interpreter = memory.word(interpreter + self._layout.interpreter_next)

    def _states(self, reading: Reading) -> Iterator[int]:
        for interpreter in self._interpreters(reading):
            state = reading.word(interpreter + self._layout.interpreter_threads)
            for _ in range(MOST_THREADS):
                if not state:
                    break
                if reading.word(state + self._layout.thread_interpreter) != interpreter:
                    raise TornError
                yield state
                state = reading.word(state + self._layout.thread_next)


def _shared(stacks: list[list[_Frame]]) -> list[_Frame]:
    """The frames that several copies of a stack agree on, innermost first.

    Where inner frames differ, they have ended in between, and there was a moment at which the
    innermost of those left was the innermost of all. Raises TornError where nothing is left.
    """
    if not any(stacks):
        return []
    # Those that lost their way between two frames end elsewhere.
    ends = Counter(stack[-1][:2] for stack in stacks if stack)
    ((end, count),) = ends.most_common(1)
    if count < min(LEAST_COPIES, len(stacks)):
        raise TornError
    shared: list[_Frame] = []
    whole = [stack[::-1] for stack in stacks if stack and stack[-1][:2] == end]
    for same in zip(*whole, strict=False):
        if any(one[:2] != same[0][:2] for one in same):
            break
        shared.append(same[-1])
        if any(one != same[0] for one in same):
            break
    return shared[::-1]
