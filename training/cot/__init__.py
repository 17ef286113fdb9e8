"""Chains of thought for training: written, criticised, reviewed by people.

`facts` measures a mask, `writer` words the facts, `claims` reads statements back out of any text
and `agreement` holds them against the facts; `critic` judges with them. `assistants` does both
jobs through a vision-language model, reached by `endpoint` or run by `local_model`. `pipeline`
sends answers round until they are accepted, `review` shows them to a person, and `accepted` is
what training reads.
"""
