"""Deep self-learning on one fold: networks, label rules, training, the chain, decisions on utterances.

`company.run_chain` (Algorithm 1), `labels.RULES`, `backbones.BACKBONES`, `settings.TrainingSettings`. Never imports
Ray; `labels`, `settings` and `backbones` can be read without torch.
"""
