"""Types made by hand, as a kernel or a compiler would write them down."""

import struct

from gnomon.tracing.btf import MAGIC, Btf, Kind


class Types:
    """A BTF section in the making; each method adds a type and returns its number."""

    def __init__(self):
        self._strings = b"\0"
        self._types = []

    def add(self, kind, name="", third=0, words=(), count=0, *, flag=False):
        information = flag << 31 | kind << 24 | count
        self._types.append(
            struct.pack(f"<3I{len(words)}I", self._text(name), information, third, *words)
        )
        return len(self._types)

    def integer(self, name="int", size_bytes=4, *, signed=False):
        return self.add(Kind.INT, name, size_bytes, [signed << 24 | size_bytes * 8])

    def pointer(self, type_id):
        return self.add(Kind.POINTER, third=type_id)

    def array(self, element_id, length):
        return self.add(Kind.ARRAY, words=[element_id, element_id, length])

    def struct(self, name, size_bytes, *members, kind=Kind.STRUCT):
        """``members`` are (name, type, bit offset) or (name, type, bit offset, bits)."""
        words = []
        flag = any(len(member) == 4 for member in members)
        for member_name, type_id, offset_bits, *bits in members:
            words += [self._text(member_name), type_id, offset_bits | (bits or [0])[0] << 24]
        return self.add(kind, name, size_bytes, words, len(members), flag=flag)

    def enumeration(self, name, enumerators, *, signed=False):
        words = [word for one, value in enumerators for word in (self._text(one), value)]
        return self.add(Kind.ENUM, name, 4, words, len(enumerators), flag=signed)

    def enumeration_64(self, name, enumerators, *, signed=False):
        words = [
            word
            for one, value in enumerators
            for word in (self._text(one), value & 0xFFFFFFFF, value >> 32)
        ]
        return self.add(Kind.ENUM64, name, 8, words, len(enumerators), flag=signed)

    def data(self, layout=None):
        """The section; ``layout`` are (bytes once, bytes each) of every kind, as Linux 7.1 has."""
        types = b"".join(self._types)
        described = b"".join(struct.pack("<BBH", *sizes, 0) for sizes in layout or [])
        header_bytes = 24 if layout is None else 32
        sizes = [header_bytes, 0, len(types), len(types), len(self._strings)]
        if layout is not None:
            sizes += [len(types) + len(self._strings), len(described)]
        header = struct.pack(f"<HBB{len(sizes)}I", MAGIC, 1, 0, *sizes)
        return header + types + self._strings + described

    def btf(self, name="types made by hand"):
        return Btf(self.data(), name)

    def _text(self, name):
        if not name:
            return 0
        sought = b"\0" + name.encode() + b"\0"
        if sought not in self._strings:
            self._strings += sought[1:]
        return self._strings.index(sought) + 1
