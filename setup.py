"""What pyproject.toml has no word for: cffi's extension, and one wheel of it for every Python."""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
