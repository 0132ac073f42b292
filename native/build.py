"""Builds the C reader as the extension onlooker._native, by cffi in API mode."""

import os
from pathlib import Path

import cffi

# Relative, as setuptools wants its sources; a build always runs in the project's root folder.
NATIVE = Path("native")
HEADER = NATIVE / "onlooker.h"

# The tests turn warnings into errors; a user's build must not break with next year's compiler.
WERROR = ["-Werror"] if os.environ.get("ONLOOKER_WERROR") else []

ffibuilder = cffi.FFI()
# One file serves the compiler, cffi and the reader: declarations, comments and integer #defines.
ffibuilder.cdef(HEADER.read_text())
ffibuilder.set_source(
    "onlooker._native",
    f"""
    #include <stdbool.h>
    #include <stddef.h>
    #include <stdint.h>
    #include <sys/types.h>
    #include "{HEADER.name}"
    """,
    sources=sorted(str(source) for source in NATIVE.glob("*.c")),
    depends=sorted(str(header) for header in NATIVE.glob("*.[hd]*")),
    include_dirs=[str(NATIVE)],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", *WERROR],
    extra_link_args=["-pthread"],
)
