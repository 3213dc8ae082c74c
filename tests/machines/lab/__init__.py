"""The other machines: roots, sandboxes, interpreters and synced projects.

Nothing here knows envpack. Each part says what it needs of this machine, and raises
`MissingMachine` with the reason when that is not there.
"""
