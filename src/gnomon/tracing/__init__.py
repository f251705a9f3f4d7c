"""Traces of what threads waited for: programs in the kernel, and how they get there.

Compiled programs are loaded over bpf(2) by this package alone: no compiler and no libbpf is needed
where it runs. `loader` is the door; the other modules are what it stands on.
"""
