"""Memory for large bodies, in few pages where it can be: to touch it costs the system less."""

from __future__ import annotations

import contextlib
import io
import mmap

#: What the C library allocates of this size is mapped by itself, and unmapped when it is
#: freed (glibc's ``DEFAULT_MMAP_THRESHOLD_MAX``): advice to the kernel harms nothing else.
_MAPPED = 1 << 25

Body = io.BytesIO | mmap.mmap


def buffer(size: int) -> mmap.mmap:
    """Memory to read into, and to give away as it is."""
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for a message of {size} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def growable(size: int) -> io.BytesIO:
    """Memory to read into that becomes a :class:`bytes`, and can grow before."""
    # bytes(n) is memory that was never touched, and BytesIO takes it over as it is: to
    # make room by writing would touch each page twice.
    body = io.BytesIO(bytes(size))
    if size >= _MAPPED and hasattr(mmap, "MADV_HUGEPAGE"):
        with body.getbuffer() as view, contextlib.suppress(ImportError, OSError):
            _join_pages(view)
    return body


def view_of(body: Body) -> memoryview:
    """The memory of a body, for reading into it."""
    return body.getbuffer() if isinstance(body, io.BytesIO) else memoryview(body)


def _join_pages(view: memoryview) -> None:
    import ctypes  # takes its time, and few messages are that large

    start = ctypes.addressof(ctypes.c_char.from_buffer(view))
    first, end = start + -start % mmap.PAGESIZE, start + len(view)
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    advise(first, end - first, mmap.MADV_HUGEPAGE)  # a kernel without them says so, in vain
