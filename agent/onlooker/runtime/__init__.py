"""What the bytes of a CPython process mean: where its interpreter is, how its structures lie."""
