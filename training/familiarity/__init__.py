"""Whether an image is like the training images: fitting that, and measuring how well it is told.

outside_images, made_patterns, own_images   what the model was not trained on
perturbations, torn                         familiar images that stay so, and that do not
features, config, fitting                   fitting to a checkpoint
measuring, tables                           shares called outside, and their table
"""
