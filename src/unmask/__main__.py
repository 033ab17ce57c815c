"""``python -m unmask`` is the `unmask` command, as torchrun wants it."""

from unmask.cli import main

if __name__ == "__main__":
    main()
