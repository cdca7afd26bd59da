"""The command `hieno`: parse, call one function, print."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from hieno.cli.commands import hieno

    hieno.main()
