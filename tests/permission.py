"""Whether the kernel lets this process read and stop another one, which is what the tests do."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable

PTRACE_SEIZE = 0x4206

ADVICE = """\
Onlooker's tests look into processes that they start. The kernel does not permit that here:
{what} failed ({why}). Run them as root, or with CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE),
or after sysctl kernel.yama.ptrace_scope=1."""


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def missing_permission() -> str | None:
    """What to tell the user if a child of this process can't be read or seized, else None."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = libc.process_vm_readv.restype = ctypes.c_long
    child = subprocess.Popen(
        [sys.executable, "-c", "print(id(None), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        address = int(child.stdout.readline())
        into = ctypes.create_string_buffer(8)
        local = _IoVec(ctypes.addressof(into), 8)
        remote = _IoVec(address, 8)
        calls: dict[str, Callable[[], int]] = {
            "process_vm_readv": lambda: libc.process_vm_readv(
                child.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0
            ),
            "ptrace": lambda: libc.ptrace(PTRACE_SEIZE, child.pid, None, None),
        }
        try:
            for what, call in calls.items():
                if call() < 0:
                    return ADVICE.format(what=what, why=os.strerror(ctypes.get_errno()))
        finally:
            child.kill()
    return None
