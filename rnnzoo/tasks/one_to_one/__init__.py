"""A label for each word from that word alone: the baseline of recurrent taggers."""
