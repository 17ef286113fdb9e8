"""How much of a mask's quality is left when the image is compressed, lit, turned or shrunk.

perturbations   the changes, as pure functions
asking          ask for every finding under every change
tables, plot    what people and programs read
"""
