"""Speech, frame by frame: log-mel features of a word in a voice, and a signal from them."""
