"""`python -m attempts NAME` tries one, with the facts from its standard input."""

from . import main

main()
