"""Memory that is freed leaves the process."""

import ctypes
import os
from pathlib import Path

import pytest

from piplay.engine.local import freed

BLOCK, COUNT = 1 << 16, 2000


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc's")
def test_what_lies_free_between_what_is_used_leaves_the_process() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    blocks = [libc.malloc(BLOCK) for _ in range(COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    # The last stays, so that free alone cannot lower the heap's end.
    for block in blocks[:-1]:
        libc.free(block)
    before = resident()
    freed.give_back()
    assert before - resident() > BLOCK * COUNT // 2
    libc.free(blocks[-1])


@pytest.mark.parametrize("problem", [OSError, AttributeError, TypeError])
def test_another_c_library_is_let_be(problem: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: None) -> None:
        raise problem

    monkeypatch.setattr(freed.ctypes, "CDLL", refuse)
    freed._trim.cache_clear()
    freed.give_back()
    freed._trim.cache_clear()
