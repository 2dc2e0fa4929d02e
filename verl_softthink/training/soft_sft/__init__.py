"""Soft-target fine-tuning: thoughts as target distributions, through verl's own SFT trainer.

    loss = -(1 / M) ( sum over thoughts sum_k q_k log p(k)  +  sum over tokens log p(token) ),    M predicted positions

A thought with the target q is fed a mixture of embeddings sum_i w_i E[k_i]. With w = q the model never meets what it
makes of a thought itself, and errs the more the longer it feeds itself: w is therefore noisy (``feeding.py``), or the
model's own (``engine.py``). The rows' schema is that of ``verl_softthink.data.sft_rows``.

    python -m torch.distributed.run --nproc_per_node=1 -m verl.trainer.sft_trainer +softthink=soft_sft ...
"""
