"""The zoo's contents: experiments in `zoo_configs/`, bundles in `pretrained/`."""
