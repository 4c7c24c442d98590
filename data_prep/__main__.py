"""`python -m data_prep RECIPE [key.sub=value ...]`: run one stage of this floor in this process."""

import sys

from recipes.run import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("data_prep"))
