"""Builds the C reader as the extension onlooker._native, by cffi in API mode."""

import os
from pathlib import Path

import cffi

# Relative, as setuptools wants its sources; a build always runs in the project's root folder.
NATIVE = Path("native")
# The boundary: one file for each part, in this order, since later ones use words of earlier ones.
# Each serves the compiler, cffi and C alike: declarations, comments and integer #defines.
PARTS = (
    "onlooker.h",
    "onlooker_contexts.h",
    "onlooker_freeze.h",
    "onlooker_owners.h",
    "onlooker_heap.h",
    "onlooker_pause.h",
    "onlooker_words.h",
    "onlooker_asyncio.h",
    "onlooker_watch.h",
)
HEADERS = [NATIVE / part for part in PARTS]

# The tests turn warnings into errors; a user's build must not break with next year's compiler.
WERROR = ["-Werror"] if os.environ.get("ONLOOKER_WERROR") else []

ffibuilder = cffi.FFI()
for header in HEADERS:
    ffibuilder.cdef(header.read_text())
ffibuilder.set_source(
    "onlooker._native",
    "\n".join(
        [
            "#include <stdbool.h>",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "#include <sys/types.h>",
            *(f'#include "{header.name}"' for header in HEADERS),
        ]
    ),
    sources=sorted(str(source) for source in NATIVE.glob("*.c")),
    depends=sorted(str(header) for header in NATIVE.glob("*.[hd]*")),
    include_dirs=[str(NATIVE)],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", *WERROR],
    extra_link_args=["-pthread"],
)
