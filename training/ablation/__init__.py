"""Ablations: variants of one configuration, trained alike and compared question by question.

config   what is varied
running  train, export, evaluate each variant; goes on where it stopped
stored   answers of a finished variant, on disk
tables   variants against each other
paper    the paper's numbers beside ours
"""
