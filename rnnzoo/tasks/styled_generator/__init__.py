"""Language models of texts that each have a style, such as the play or the author: it is asked for by a token."""
