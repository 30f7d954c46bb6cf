"""`python -m deploy.cli`: the command line without the console script."""

from deploy.cli import main

main()
