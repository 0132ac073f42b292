"""Which Onlooker this is."""

from __future__ import annotations


def version() -> str:
    """Return the version of the installed package."""
    # Imported here, for it takes longer to load than a process takes to be found.
    from importlib.metadata import version as installed_version

    return installed_version("onlooker")
