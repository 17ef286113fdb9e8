"""Whether the words of an answer agree with its mask.

facts      what can be measured on a mask
claims     statements that can be checked, read out of a text
agreement  does a claim agree with the facts
check      all of an answer's claims, each with a verdict
"""
