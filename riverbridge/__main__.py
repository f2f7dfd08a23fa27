"""`python -m riverbridge`: the same as the command `riverbridge`."""

from riverbridge.cli import main

main(prog_name="riverbridge")
