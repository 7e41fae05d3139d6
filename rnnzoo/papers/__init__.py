"""Papers on recurrent networks, each reproduced by one command: `rnnzoo paper NAME`."""
