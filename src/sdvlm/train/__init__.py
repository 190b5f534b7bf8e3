"""Fine-tuning of a vision-language model with depth: data, packing, training, saving."""
