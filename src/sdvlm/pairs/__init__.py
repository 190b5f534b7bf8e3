"""RGB-D pairs for pre-training a depth encoder: where pictures come from, their depth, and the data set they become."""
