"""Prior-fitted networks of our own: priors, network, training, weights. Read `train.py` first.

A prior draws whole studies; a network reads a study and answers with a distribution; training makes the answer the
posterior of the prior. Müller et al. 2022 (arXiv 2112.10510); for curves Rakotoarison et al. 2024 (arXiv 2404.16795).

Imports torch, numpy and safetensors only: the machine that trains has nothing else of Frazil's.
"""
