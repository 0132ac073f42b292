"""What the bytes of a CPython process mean: where its interpreter is, and how its structures lie."""
