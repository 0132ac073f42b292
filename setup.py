"""What pyproject.toml has no word for: the extension that cffi builds, and its one wheel for every Python."""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
