"""`python -m muybridge` is `muybridge`; torchrun starts it so."""

from muybridge.cli import main

if __name__ == "__main__":
    main()
