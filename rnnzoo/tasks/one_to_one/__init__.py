"""A label for each word from that word alone: what recurrence has to beat."""
