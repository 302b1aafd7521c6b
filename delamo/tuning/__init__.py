"""What tuning is made of: the recipe, the trainable part, the batches, the trainer's module, and several processes."""
