"""Proximal policy optimisation of a language model (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

As in Ziegler et al. 2019 (https://arxiv.org/abs/1909.08593), Stiennon et al. 2020 (https://arxiv.org/abs/2009.01325)
and Ouyang et al. 2022 (https://arxiv.org/abs/2203.02155), with the details that Huang et al. 2024
(https://arxiv.org/abs/2403.17031, "N+ implementation details") found to matter.

    settings.py    what a recipe says
    roles.py       one base in memory; policy, reference, reward and value are adapters and heads on it
    rewards.py     what an answer is worth: a reward model (on the same base or not), or a Python function
    rollout.py     prompts -> sampled answers with log-probs, values and scores
    advantages.py  scores -> rewards for each token -> advantages (pure functions)
    losses.py      the clipped losses (pure functions)
    update.py      one batch of rollouts -> optimiser steps
    checkpoint.py  everything that a run needs to go on as if it had never stopped
    trainer.py     the loop

Left out: pretraining gradients mixed in (PPO-ptx), an external engine for sampling, sharded weights (FSDP, DeepSpeed):
every process holds the base, which is frozen, and gradients of adapters and heads are summed over processes.
"""
