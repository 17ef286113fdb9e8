"""Whether the mask obeys the query.

phrasings   the same query in words that training uses, and in words that it does not
plan        which image is asked what
asking      ask, once an image is encoded
rows        what is kept of each answer
tables, sheet, report   what people and programs read
"""
