"""The ablation of the depth papers, on the nano model: every way depth can enter, with equal data, steps and seeds."""
