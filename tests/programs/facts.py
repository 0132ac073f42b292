"""Says of itself what can be seen from outside, then waits until its standard input ends."""

import ctypes
import json
import os
import sys
import threading

ready = threading.Barrier(4)


def wait(idents):
    idents[threading.get_ident()] = threading.get_native_id()
    ready.wait()
    stop.wait()


stop = threading.Event()
idents = {threading.get_ident(): threading.get_native_id()}
for _ in range(3):
    threading.Thread(target=wait, args=(idents,), daemon=True).start()
ready.wait()
runtime = ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")
facts = {
    "version": sys.hexversion,
    "runtime": ctypes.addressof(runtime),
    "code_type": id(type(wait.__code__)),
    "executable": os.path.realpath(sys.executable),
    "argv": sys.argv,
    "pid": os.getpid(),
    "native_ids": idents,
}
print(json.dumps(facts), flush=True)
sys.stdin.read()
