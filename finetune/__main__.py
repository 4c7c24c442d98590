"""`accelerate launch -m finetune RECIPE [key.sub=value ...]`: run one training stage in these processes."""

import sys

from recipes.run import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("finetune"))
