"""Variational reasoning (arXiv 2509.22637): thinking traces as latent variables.

With x a question, z a thinking trace, Y the set of right answers, pi the model and q(z | x, y') a posterior that has
seen a hint y', K traces bound the log-likelihood of a right answer:

    log P(Y | x)  >=  L^K = E_{z_1..K ~ q} log (1/K) sum_k pi(z_k, Y | x) / q(z_k | x, y')
    grad L^K       =  E sum_k w_k grad log pi(z_k, Y | x),     w_k = rho_k / sum_j rho_j

``importance.py`` is pi/q, ``answers.py`` is pi(Y | x, z), ``groups.py`` turns the product into w. Pure functions; the
rest of the package brings them to verl (``agent_loop.py``, ``stage.py``, ``loss.py``) and offline (``offline/``).
"""
