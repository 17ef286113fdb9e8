"""Plain networks to hold the model against: a U-Net for masks, a classifier for diagnoses.

Both see the images, views and mixture that the model is trained with, and no words.

config      what is trained, how long, on whose sampling
networks    the two networks
masks, diagnosis   what each is taught in a step
loop        training of either; goes on where it was killed
predicting  what they say of an image
answers     rows of a split, kept set by set
comparison  model and plain networks side by side
running     all of it, in order
"""
