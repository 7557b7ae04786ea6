"""`python -m thinbridge.cli`, where the console script is not on the path."""

from thinbridge.cli import main

main()
