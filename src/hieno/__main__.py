"""`python -m hieno` is the command `hieno`."""

from hieno.cli import main

if __name__ == "__main__":
    main()
