"""The data sets of the zoo: one file each, with its terms, its files and how they are read."""
