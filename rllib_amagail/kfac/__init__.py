"""K-FAC for networks of linear layers; needs PyTorch only.

A step asks for two gradients: that of your loss, and that of a Fisher loss, whose labels are drawn
from the model's own predictions. Nine regression steps:

    >>> import torch
    >>> from rllib_amagail.kfac import KFAC, gaussian_fisher_loss
    >>> rng = torch.Generator().manual_seed(0)
    >>> inputs = torch.randn(64, 3, generator=rng)
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 1))
    >>> optimizer = KFAC(net, lr=1.0, momentum=0.0, kl_clip=10.0, damping=1e-6)
    >>> for _ in range(9):
    ...     with optimizer.collecting():
    ...         gaussian_fisher_loss(net(inputs), rng).backward()
    ...     optimizer.zero_grad()
    ...     loss = (net(inputs).squeeze(1) - inputs.sum(1)).square().mean() / 2
    ...     loss.backward()
    ...     optimizer.step()
    >>> loss.item() < 1e-3
    True

Sources: Martens and Grosse 2015 (arXiv:1503.05671) for the factors, their damping and their decay;
Wu et al. 2017 (ACKTR, arXiv:1708.05144) for the trust region and the Fisher of value functions;
Ba, Grosse and Martens 2017 ("Distributed second-order optimization using Kronecker-factored
approximations", ICLR) for averaged statistics and lazy inverses.
"""

from rllib_amagail.kfac.fisher_loss import (
    bernoulli_fisher_loss,
    categorical_fisher_loss,
    gaussian_fisher_loss,
)
from rllib_amagail.kfac.optimizer import KFAC

__all__ = ["KFAC", "bernoulli_fisher_loss", "categorical_fisher_loss", "gaussian_fisher_loss"]
