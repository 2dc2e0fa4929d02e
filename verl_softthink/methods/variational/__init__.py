"""Variational reasoning (arXiv 2509.22637): thoughts as latent variables.

With x a question, z a thought, Y the set of right answers, pi the model and q(z | x, y') a posterior that has seen a
hint y', K thoughts bound the log-likelihood of a right answer:

    log P(Y | x)  >=  L^K = E_{z_1..K ~ q} log (1/K) sum_k pi(z_k, Y | x) / q(z_k | x, y')
    grad L^K       =  E sum_k w_k grad log pi(z_k, Y | x),     w_k = rho_k / sum_j rho_j

``weighting.py`` computes w, ``advantage.py`` the on-policy form q = pi; the other modules bring both to verl, and
``offline/`` to fine-tuning.
"""
