"""What the zoo holds: experiments in `zoo_configs/`, bundles in `pretrained/`."""
