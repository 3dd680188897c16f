"""The commands of `ser-sweep`: a module for one, or for a small family, each parsing, calling and printing. What it
opens with are the examples in its help.

`add(commands)` adds a module's commands to the command line (`ser_sweep.cli.build_parser`). What they share is in
`arguments` (what is parsed), `sweeps` (what is opened) and `terminal` (what is shown). A command imports what it needs
when it runs, so that help is there at once.
"""
