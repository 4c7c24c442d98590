"""`python -m recipes RECIPE [step.key.sub=value ...]`: the same as `tuneloop run`."""

import sys

from recipes.run import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("recipes"))
