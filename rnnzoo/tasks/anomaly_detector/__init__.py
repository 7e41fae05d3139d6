"""What is unexpected in a series: a forecast of the next row, and how far each row is from it."""
