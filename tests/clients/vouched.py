"""The backend of the guide: `taken SUBJECT` or `refused` for each line of TOKENS.
Usage: vouched.py DIRECTORY, with guide.py in it."""
import os
import sys

sys.path.insert(0, sys.argv[1])
import guide

for token in os.environ["TOKENS"].split("\n"):
    try:
        print("taken", guide.who_asks(token))
    except guide.jwt.PyJWTError as error:
        print("refused")
        print(repr(error), file=sys.stderr)
